#include "ops/convolution/depthwise_pixels.h"

#include <numeric>

#include "ir/aligned_array.h"
#include "kernels/dense_bytes.h"
#include "ops/convolution/requantization.h"

namespace sparbor {
namespace {

constexpr size_t most_repeats = 8;  // of a layer's channels, until they end where a vector does

// Vectors of channels, of a pixel or, where rows of pixels can be looked at as one, of as many pixels as end where a
// vector does; and what lies by channel in their order.
class DepthwiseVectors {
public:
    DepthwiseVectors(const Node& node, const Window& window, const KernelSet& kernels)
        : width_(kernels.quads->dense->vector_bytes), channels_(node.layer()->outputs),
          repeats_(width_ / std::gcd(width_, channels_)), threes_(window.kernel == std::array<int64_t, 2>{3, 3}),
          across_(window.stride[1] == 1 && repeats_ <= most_repeats && !(threes_ && nearly_full())),
          vectors_(ceil_div(across_ ? repeats_ * channels_ : channels_, width_)),
          fours_(threes_ ? fours_of_threes : ceil_div(node.layer()->fan_in, dot_inputs)),
          weights_(vectors_ * fours_ * dot_inputs * width_),
          multiplier_(vectors_ * width_), shift_(vectors_ * width_), sums_(vectors_ * width_),
          outputs_(node, kernels, sums_of(*node.layer())) {
        for (size_t place = 0; place < vectors_ * width_; place++) set_channel(*node.layer(), place);
    }

    DepthwiseByteLayer layer() const { return {weights_.data(), vectors_, fours_, sums_.data(), threes_}; }
    bool across() const { return across_; }  // whether a row of pixels is looked at as one
    size_t fours() const { return fours_; }

    // What sums become, of pixels or of rows with so many outputs.
    Requantization to(size_t outputs) const {
        Requantization to = outputs_.to();
        to.multiplier = multiplier_.data();
        to.shift = shift_.data();
        to.outputs = outputs;
        return to;
    }

private:
    // Whether a pixel's vectors hardly have places without a channel: a window that moves by pixels keeps more.
    bool nearly_full() const { return 8 * round_up(channels_, width_) <= 9 * channels_; }

    static std::vector<int32_t> sums_of(const Layer& layer) {
        std::vector<int32_t> sums(round_up(layer.outputs, neuron_block));
        const auto* weights = layer.data<int8_t>("weights");
        for (uint64_t channel = 0; channel < layer.outputs; channel++, weights += layer.fan_in)
            sums[channel] = std::accumulate(weights, weights + layer.fan_in, int32_t{0});
        return sums;
    }

    void set_channel(const Layer& layer, size_t place) {
        const size_t vector = place / width_, in_vector = place % width_;
        const size_t number = vector * width_ + depthwise_channel(width_, in_vector), channel = number % channels_;
        if (!across_ && number >= channels_) return;
        const auto* const weights = layer.data<int8_t>("weights") + channel * layer.fan_in;
        const auto set = [&](size_t four, size_t at, int8_t weight) {
            weights_.data()[((vector * fours_ + four) * width_ + in_vector) * dot_inputs + at] = weight;
        };
        for (size_t tap = 0; tap < layer.fan_in; tap++) {
            sums_[place] += weights[tap];
            if (!threes_) set(tap / dot_inputs, tap % dot_inputs, weights[tap]);
            else
                for (size_t lower = 0; lower < 2; lower++) {
                    const ThreePlace there = three_place(tap / 3, tap % 3, lower);
                    set(there.four, there.at, weights[tap]);
                }
        }
        multiplier_[place] = outputs_.to().multiplier[channel];
        shift_[place] = outputs_.to().shift[channel];
    }

    size_t width_, channels_, repeats_;
    bool threes_, across_;
    size_t vectors_, fours_;
    AlignedArray<int8_t> weights_;
    std::vector<float> multiplier_, shift_;
    std::vector<int32_t> sums_;
    RequantizedOutputs outputs_;
};

// Where each place of the kernel lies, in bytes behind the beginning of a window; those that only fill fours lie where
// the first does.
std::vector<uint32_t> places_of(const Geometry& geometry, size_t fours, size_t row_pitch) {
    std::vector<uint32_t> places;
    for (int64_t row = 0; row < geometry.kernel_h; row++)
        for (int64_t column = 0; column < geometry.kernel_w; column++)
            places.push_back(static_cast<uint32_t>(row * geometry.dilation_h * static_cast<int64_t>(row_pitch) +
                                                   column * geometry.dilation_w * geometry.channels));
    places.resize(std::max<size_t>(places.size(), fours * dot_inputs));
    return places;
}

class DepthwisePixels final : public PixelConvolution {
public:
    DepthwisePixels(const Node& node, const Placement& at, const Window& window,
                    std::shared_ptr<const DepthwiseVectors> vectors)
        : PixelConvolution(at, geometry_of(node, window), static_cast<uint8_t>(node.x_quantization()->zero), 1, 1,
                           0.02 * static_cast<double>(numbers_of(node.y()) * vectors->fours())),
          vectors_(std::move(vectors)),
          places_(places_of(geometry_of(node, window), vectors_->fours(), row_pitch())),
          channels_(node.layer()->outputs) {}

private:
    void compute(const Call& call, const PixelRows& rows, size_t, size_t) const override {
        PixelRows given = rows;
        if (vectors_->across()) given.columns = 1;
        const Requantization to = vectors_->to(channels_ * rows.columns / given.columns);
        call.kernels.quads->dense->depthwise(vectors_->layer(), places_.data(), given, to);
    }

    std::shared_ptr<const DepthwiseVectors> vectors_;
    std::vector<uint32_t> places_;
    size_t channels_;
};

}  // namespace

// Each channel's weights, sum, multiplier and shift, as often as it is repeated, and a vector that is not full.
uint64_t depthwise_layout_bytes(const Node& node) {
    constexpr uint64_t widest = 64;
    const Layer& layer = *node.layer();
    const uint64_t taps = layer.fan_in == 9 ? fours_of_threes * dot_inputs : round_up(layer.fan_in, dot_inputs);
    return (most_repeats * layer.outputs + widest) * (taps + 12) + taps * sizeof(uint32_t) + 12 * layer.outputs;
}

std::unique_ptr<Step> make_depthwise_pixels(const Node& node, const Placement& at, const Window& window) {
    constexpr size_t depthwise = 2;
    auto vectors = at.layer.get<DepthwiseVectors>(depthwise, node.layer()->outputs, [&] {
        return std::make_shared<const DepthwiseVectors>(node, window, at.kernels);
    });
    return std::make_unique<DepthwisePixels>(node, at, window, std::move(vectors));
}

}  // namespace sparbor
