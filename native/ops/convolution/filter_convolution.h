// Quantized convolutions whose layer is dense, filters of 8 bits, channels last; or is faster so.
#pragma once

#include <memory>

#include "ops/convolution/pixel_convolution.h"
#include "ops/window.h"

namespace sparbor {

// Its layer's filters are those of the window.
void check_filter_layer(const Node& node, const Window& window);
// Whether a layer of quads is faster so.
bool faster_as_filters(const Node& node, const Window& window, const KernelSet& kernels);
// Bytes of what the layer is laid out in, beside its own.
uint64_t filter_layout_bytes(const Node& node, const Window& window);
std::unique_ptr<Step> make_filter_convolution(const Node& node, const Placement& at, const Window& window);

}  // namespace sparbor
