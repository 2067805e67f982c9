#include "ops/convolution/filter_convolution.h"

#include "encodings/encoding.h"
#include "ops/convolution/depthwise_pixels.h"
#include "ops/convolution/reading_order.h"
#include "ops/convolution/requantization.h"
#include "ops/dense_byte_matrix.h"

namespace sparbor {
namespace {

// What a place of the kernel reads is one run of bytes; and so is what a row of it reads, if that are all channels of
// pixels side by side.
Runs runs_of(const Node& node, const Window& window) {
    const Layer& layer = *node.layer();
    if (is(layer, LayerKind::sparse)) {
        const ReadingOrder order(window, node.x()[1]);
        return {order.rows * order.places, order.run, order.padded};
    }
    const auto rows = static_cast<uint64_t>(window.kernel[0]), columns = static_cast<uint64_t>(window.kernel[1]);
    const bool whole_rows = window.groups == 1 && (columns == 1 || window.dilation[1] == 1);
    const uint64_t count = whole_rows ? rows : rows * columns;
    return {count, layer.fan_in / count, layer.fan_in / count};
}

struct QuantizedFilters {
    QuantizedFilters(const Node& node, const Window& window, const KernelSet& kernels)
        : matrix(*node.layer(), runs_of(node, window), 0), outputs(node, kernels, matrix.sums()) {}

    DenseByteMatrix matrix;
    RequantizedOutputs outputs;
};

// Where each run begins, in bytes behind the beginning of a window.
std::vector<uint32_t> places_of(uint64_t runs, const Geometry& geometry, size_t row_pitch) {
    std::vector<uint32_t> places;
    const uint64_t in_row = runs / static_cast<uint64_t>(geometry.kernel_h);
    for (uint64_t run = 0; run < runs; run++)
        places.push_back(static_cast<uint32_t>(
            run / in_row * static_cast<uint64_t>(geometry.dilation_h) * row_pitch +
            run % in_row * static_cast<uint64_t>(geometry.dilation_w * geometry.channels)));
    return places;
}

class FilterConvolution final : public PixelConvolution {
public:
    FilterConvolution(const Node& node, const Placement& at, const Window& window,
                      std::shared_ptr<const QuantizedFilters> layer)
        : PixelConvolution(at, geometry_of(node, window), static_cast<uint8_t>(node.x_quantization()->zero),
                           layer->matrix.groups(), layer->matrix.fours() * quad_bytes, work(node, *layer)),
          layer_(std::move(layer)),
          places_(places_of(layer_->matrix.layer().runs, geometry_of(node, window), row_pitch())),
          blocks_of_group_(layer_->matrix.groups() / static_cast<size_t>(window.groups)),
          channels_of_group_(node.x()[1] / static_cast<uint64_t>(window.groups)) {}

private:
    static double work(const Node& node, const QuantizedFilters& layer) {
        const double outputs = static_cast<double>(numbers_of(node.y()));
        const double pixels = outputs / static_cast<double>(node.y()[1]);
        return 0.15 * pixels * static_cast<double>(layer.matrix.fours()) + 0.1 * outputs;
    }

    // Blocks of one group read the same channels.
    void compute(const Call& call, const PixelRows& rows, size_t first, size_t last) const override {
        while (first < last) {
            const size_t group = first / blocks_of_group_, end = std::min(last, (group + 1) * blocks_of_group_);
            PixelRows own = rows;
            own.x += group * channels_of_group_;
            call.kernels.quads->dense->pixels(layer_->matrix.layer(), places_.data(), own, layer_->outputs.to(), first,
                                              end);
            first = end;
        }
    }

    std::shared_ptr<const QuantizedFilters> layer_;
    std::vector<uint32_t> places_;
    size_t blocks_of_group_, channels_of_group_;
};

}  // namespace

void check_filter_layer(const Node& node, const Window& window) {
    const Layer& layer = *node.layer();
    const auto groups = static_cast<uint64_t>(window.groups);
    const Shape wanted{node.y()[1], static_cast<uint64_t>(window.kernel[0]), static_cast<uint64_t>(window.kernel[1]),
                       node.x()[1] / groups};
    const Shape& shape = layer.parts.at("weights").shape;
    if (shape != wanted) node.refuse("its layer's weights have shape " + to_text(shape) + ", not " + to_text(wanted));
    node.require(groups == 1 || is_depthwise(node, window) || layer.outputs / groups % neuron_block == 0,
                 "the outputs of each of its groups are no multiple of 16: store its layer sparse");
}

// Panels with all groups' channels would be mostly zeros. Of the places that its own inputs have, the layer stores so many.
bool faster_as_filters(const Node& node, const Window& window, const KernelSet& kernels) {
    const Layer& layer = *node.layer();
    const Runs runs = runs_of(node, window);
    const auto places = static_cast<double>(round_up(layer.outputs, neuron_block) * runs.count * runs.inputs);
    return window.groups == 1 &&
           static_cast<double>(layer.encoding->places(layer)) > kernels.quads->dense->faster_pixels * places;
}

// The panels, their places; scale, bias, sum, multiplier and shift of the outputs.
uint64_t filter_layout_bytes(const Node& node, const Window& window) {
    if (is_depthwise(node, window)) return depthwise_layout_bytes(node);
    const Runs runs = runs_of(node, window);
    const uint64_t outputs = round_up(node.layer()->outputs, neuron_block);
    return outputs * runs.count * round_up(runs.inputs, dot_inputs) + runs.count * sizeof(uint32_t) + 32 * outputs;
}

std::unique_ptr<Step> make_filter_convolution(const Node& node, const Placement& at, const Window& window) {
    if (is_depthwise(node, window)) return make_depthwise_pixels(node, at, window);
    constexpr size_t dense = 1;
    auto layer = at.layer.get<QuantizedFilters>(dense, node.layer()->outputs, [&] {
        return std::make_shared<const QuantizedFilters>(node, window, at.kernels);
    });
    return std::make_unique<FilterConvolution>(node, at, window, std::move(layer));
}

}  // namespace sparbor
