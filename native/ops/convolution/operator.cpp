// Convolutions over planes, sparse and dense, transposed ones as upsampled; an item of two dimensions is one of a row.
#include <algorithm>

#include "encodings/slots.h"
#include "ops/convolution/convolution.h"
#include "ops/convolution/dense_dispatch.h"
#include "ops/families.h"
#include "ops/sparse_or_dense.h"
#include "ops/window.h"

namespace sparbor {
namespace {

uint64_t taps_of(const Window& window) { return static_cast<uint64_t>(window.kernel[0] * window.kernel[1]); }

void check_layer_fits(const Node& node, const Window& window) {
    const Layer& layer = *node.layer();
    const uint64_t outputs = node.y()[1], groups = static_cast<uint64_t>(window.groups);
    node.require(is(layer, LayerKind::sparse) || is(layer, LayerKind::filters), "its layer is not a convolution's");
    node.require(!is_of(layer, of_quads), "its layer is int8, and its values are f32: a quantized_convolution takes it");
    const uint64_t fan_in = node.x()[1] / groups * taps_of(window);
    if (layer.fan_in != fan_in)
        node.refuse("its layer has fan-in " + std::to_string(layer.fan_in) + ", not " + std::to_string(fan_in));
    const std::vector<bool> real = real_rows(outputs, is(layer, LayerKind::sparse) ? groups : 1);
    if (layer.outputs != real.size())
        node.refuse("its layer has " + std::to_string(layer.outputs) + " rows, not " + std::to_string(real.size()));
    if (is(layer, LayerKind::sparse) && groups > 1)  // with one, all rows are outputs
        node.require(!has_stray_synapses(layer, real), "a synapse belongs to a neuron that only fills its group");
}

void check(const Node& node) {
    const Window window = window_of(node.settings());
    check_window(node, window);
    const PlaneShape from = plane_shape(node.x()), to = plane_shape(node.y());
    for (size_t axis = 0; axis < 2; axis++)
        if (steps(window, from, axis) != to.size[axis])
            node.refuse("its outputs are " + pixels_text(window, from) + " pixels");
    check_layer_fits(node, window);
}

double work(const Node& node) {
    const double pixels = static_cast<double>(numbers_of(node.y())) / static_cast<double>(node.y()[1]);
    return pixels * static_cast<double>(node.layer()->encoding->places(*node.layer()));
}

// A layer is laid out anew for each operation that uses it, and so is what a convolution's taps read.
LayoutCost layout(const Node& node) {
    constexpr uint64_t most_padding = 16, output_bytes = 16;  // outputs that are padded; their scale, bias and group
    constexpr uint64_t gather_bytes = 80, tap_bytes = 64;
    constexpr uint64_t wide = 16, most_gathers_of_wide = 2048;  // see ConvInputTiles::make_tables
    const Layer& layer = *node.layer();
    const uint64_t taps = taps_of(window_of(node.settings()));
    const uint64_t rows = static_cast<uint64_t>(plane_shape(node.y()).size[0]), gathers = taps * (2 * rows + 1);
    // A layer that is faster dense takes up to four times its own bytes, one without slots for its groups all of it.
    const bool depthwise = static_cast<uint64_t>(window_of(node.settings()).groups) == node.y()[1];
    const uint64_t dense = depthwise ? dense_bytes(layer) : std::min(dense_bytes(layer), 4 * layer.bytes());
    const uint64_t stored =
        is(layer, LayerKind::filters) ? most_padding * layer.bytes() : layer.bytes() + most_padding * dense;
    const uint64_t bytes = stored + output_bytes * layer.outputs + layer.fan_in * sizeof(uint32_t) +
                           taps * tap_bytes + gather_bytes * (node.y().back() < wide ? gathers : most_gathers_of_wide);
    const uint64_t counted = std::min<uint64_t>(taps, UINT32_MAX);  // its square does not overflow
    return {bytes, counted * counted};
}

std::unique_ptr<Step> make(const Node& node, const Placement& at) {
    const Layer& layer = *node.layer();
    const Geometry geometry = geometry_of(node, window_of(node.settings()));
    const Ending ending = ending_of(node, at.kernels);
    if (is(layer, LayerKind::filters) || (!at.as_stored && faster_dense(layer, geometry, at.kernels)))
        return make_dense_convolution(at, layer, geometry, ending);
    constexpr size_t sparse = 0;  // the way that it is laid out
    const auto matrix = at.layer.get<SparseMatrix>(sparse, node.y()[1], [&] {
        const std::vector<bool> real = real_rows(node.y()[1], static_cast<uint64_t>(geometry.groups));
        return std::make_shared<const SparseMatrix>(layer, real, ending.clamp_min);
    });
    return std::make_unique<SparseConvolution>(planes_of(at.x[0]), planes_of(at.y), geometry, matrix,
                                               ending.activation);
}

}  // namespace

const std::vector<OperatorType>& convolution_operators() {
    static const std::vector<OperatorType> types = {
        {"convolution", 1, Has::yes, Has::maybe, window_settings(), Takes::floats, Lies::planes,
         Aliasing::none, check, work, layout, make},
    };
    return types;
}

}  // namespace sparbor
