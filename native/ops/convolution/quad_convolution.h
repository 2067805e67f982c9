// Quantized convolutions whose layer is sparse: quads of synapses, in the order in which bytes are read.
#pragma once

#include <memory>

#include "ops/convolution/pixel_convolution.h"
#include "ops/window.h"

namespace sparbor {

// Its layer's inputs are those of the window, and no synapse reads what only fills, or another group's channel.
void check_quad_layer(const Node& node, const Window& window);
// Bytes of what the layer is laid out in, beside its own.
uint64_t quad_layout_bytes(const Node& node);
std::unique_ptr<Step> make_quad_convolution(const Node& node, const Placement& at, const Window& window);

}  // namespace sparbor
