#include "ops/convolution/quad_convolution.h"

#include "ops/convolution/reading_order.h"
#include "ops/convolution/requantization.h"
#include "ops/quad_matrix.h"

namespace sparbor {
namespace {

struct QuantizedQuads {
    QuantizedQuads(const Node& node, const KernelSet& kernels)
        : matrix(*node.layer(), 0), outputs(node, kernels, matrix.sums()) {}

    QuadMatrix matrix;
    RequantizedOutputs outputs;
};

// Where each branch begins, in bytes behind the beginning of a window.
std::vector<uint32_t> places_of(const ReadingOrder& order, const Geometry& geometry, size_t row_pitch) {
    std::vector<uint32_t> places;
    const auto across = static_cast<uint64_t>(geometry.dilation_w * geometry.channels);
    const auto down = static_cast<uint64_t>(geometry.dilation_h) * row_pitch;
    for (uint64_t row = 0; row < order.rows; row++)
        for (uint64_t place = 0; place < order.places; place++)
            for (uint64_t at = 0; at < order.padded && places.size() <= UINT16_MAX; at += quad_branch)
                places.push_back(static_cast<uint32_t>(row * down + place * across + at));
    return places;
}

class QuadConvolution final : public PixelConvolution {
public:
    QuadConvolution(const Node& node, const Placement& at, const Window& window,
                    std::shared_ptr<const QuantizedQuads> layer)
        : PixelConvolution(at, geometry_of(node, window), static_cast<uint8_t>(node.x_quantization()->zero),
                           layer->matrix.groups(), node.layer()->bytes(), work(node, *layer)),
          layer_(std::move(layer)),
          places_(places_of({window, node.x()[1]}, geometry_of(node, window), row_pitch())) {}

    const char* way() const override { return "sparse"; }

private:
    static double work(const Node& node, const QuantizedQuads& layer) {
        const double outputs = static_cast<double>(numbers_of(node.y()));
        const double pixels = outputs / static_cast<double>(node.y()[1]);
        return 0.5 * pixels * static_cast<double>(layer.matrix.quads()) + 0.1 * outputs;
    }

    void compute(const Call& call, const PixelRows& rows, size_t first, size_t last) const override {
        call.kernels.quads->pixels(layer_->matrix.layer(), places_.data(), rows, layer_->outputs.to(), first, last);
    }

    std::shared_ptr<const QuantizedQuads> layer_;
    std::vector<uint32_t> places_;
};

}  // namespace

void check_quad_layer(const Node& node, const Window& window) {
    const Layer& layer = *node.layer();
    const uint64_t channels = node.x()[1], groups = static_cast<uint64_t>(window.groups);
    const ReadingOrder order(window, channels);
    if (layer.fan_in != order.fan_in())
        node.refuse("its layer has fan-in " + std::to_string(layer.fan_in) + ", not " +
                    std::to_string(order.fan_in()) + ", as kernel rows filled up to whole branches have");
    if (layer.outputs != node.y()[1])
        node.refuse("its layer has " + std::to_string(layer.outputs) + " outputs, not " + std::to_string(node.y()[1]));
    if (order.run == order.padded && groups == 1) return;
    const auto* const indices = layer.data<uint8_t>("indices");
    const uint64_t of_group = channels / groups, outputs_of_group = layer.outputs / groups;
    bool real = true, own = true;
    for_each_unit(layer, [&](uint64_t quad, uint64_t block, uint64_t branch) {
        const uint64_t first = branch * quad_branch % order.padded;
        for (uint64_t i = 0; i < quad_bytes; i++) {
            const uint64_t index = indices[quad * quad_bytes + i], input = first + index;
            if (index == padding_index) continue;
            real &= input < order.run;
            const uint64_t output = block * neuron_block + i / quad_synapses;
            own &= groups == 1 || input % channels / of_group == output / outputs_of_group;
        }
    });
    node.require(real, "a synapse reads what only fills a row of the kernel up to whole branches");
    node.require(own, "a synapse reads a channel of another group");
}

// The table of places; scale, bias, sum, multiplier and shift of the outputs, and their blocks.
uint64_t quad_layout_bytes(const Node& node) {
    const Layer& layer = *node.layer();
    return std::min<uint64_t>(layer.fan_in / quad_branch, UINT16_MAX + 1) * sizeof(uint32_t) + 32 * layer.outputs;
}

std::unique_ptr<Step> make_quad_convolution(const Node& node, const Placement& at, const Window& window) {
    constexpr size_t only_way = 0;
    auto layer = at.layer.get<QuantizedQuads>(
        only_way, node.layer()->outputs, [&] { return std::make_shared<const QuantizedQuads>(node, at.kernels); });
    return std::make_unique<QuadConvolution>(node, at, window, std::move(layer));
}

}  // namespace sparbor
