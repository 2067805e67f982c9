// Convolutions from quantized planes to quantized planes, in whole numbers: perhaps with a residual of the output's
// shape, which is added before the activation.
#include <algorithm>

#include "encodings/slots.h"
#include "ops/convolution/filter_convolution.h"
#include "ops/convolution/quad_convolution.h"
#include "ops/convolution/requantization.h"
#include "ops/families.h"
#include "ops/outputs.h"

namespace sparbor {
namespace {

void check(const Node& node) {
    node.require(node.y_quantization().has_value(), "its output is not quantized");
    for (size_t i = 0; i < node.inputs(); i++)
        node.require(node.x_quantization(i).has_value(), "its inputs are not all quantized");
    const Window window = window_of(node.settings());
    check_window(node, window);
    node.require(window.upsample == std::array<int64_t, 2>{1, 1}, "it upsamples, which it cannot: use convolution");
    const PlaneShape from = plane_shape(node.x()), to = plane_shape(node.y());
    for (size_t axis = 0; axis < 2; axis++)
        if (steps(window, from, axis) != to.size[axis])
            node.refuse("its outputs are " + pixels_text(window, from) + " pixels");
    if (node.inputs() == 2 && node.x(1) != node.y())
        node.refuse("its residual has shape " + to_text(node.x(1)) + ", not its output's");
    const Layer& layer = *node.layer();
    node.require(has_bytes(layer) && !is(layer, LayerKind::dense), "its layer is not a convolution's of int8");
    if (is(layer, LayerKind::sparse)) check_quad_layer(node, window);
    else check_filter_layer(node, window);
    check_requantization(node);
}

double work(const Node& node) {
    const double pixels = static_cast<double>(numbers_of(node.y())) / static_cast<double>(node.y()[1]);
    return pixels * static_cast<double>(node.layer()->encoding->places(*node.layer()));
}

// A layer of quads that is faster as filters takes up to so many times its own bytes, see `faster_as_filters`.
LayoutCost layout(const Node& node) {
    constexpr uint64_t most_filters = 5;
    const Layer& layer = *node.layer();
    const Window window = window_of(node.settings());
    const uint64_t filters = filter_layout_bytes(node, window);
    if (!is(layer, LayerKind::sparse)) return {filters, 0};
    const uint64_t dense = window.groups == 1 ? std::min(filters, most_filters * layer.bytes()) : 0;
    return {quad_layout_bytes(node) + dense, 0};
}

std::unique_ptr<Step> make(const Node& node, const Placement& at) {
    const Window window = window_of(node.settings());
    if (is(*node.layer(), LayerKind::sparse) && (at.as_stored || !faster_as_filters(node, window, at.kernels)))
        return make_quad_convolution(node, at, window);
    return make_filter_convolution(node, at, window);
}

}  // namespace

const std::vector<OperatorType>& quantized_convolution_operators() {
    static const std::vector<OperatorType> types = {
        {"quantized_convolution", {1, 2}, Has::yes, Has::maybe, window_settings(), Takes::quantized, Lies::pixels,
         Aliasing::none, check, work, layout, make},
    };
    return types;
}

}  // namespace sparbor
