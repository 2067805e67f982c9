// Quantized depthwise convolutions: filters of 8 bits, of one channel each.
#pragma once

#include <memory>

#include "ops/convolution/pixel_convolution.h"
#include "ops/window.h"

namespace sparbor {

inline bool is_depthwise(const Node& node, const Window& window) {
    const auto groups = static_cast<uint64_t>(window.groups);
    return groups > 1 && groups == node.x()[1] && groups == node.y()[1];
}

// Bytes of what its layer is laid out in, beside its own.
uint64_t depthwise_layout_bytes(const Node& node);
std::unique_ptr<Step> make_depthwise_pixels(const Node& node, const Placement& at, const Window& window);

}  // namespace sparbor
