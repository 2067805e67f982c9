// Depthwise convolutions of bytes that lie channels last: each channel has weights of its own, so lanes are channels. Four
// places of the kernel at a time, whose vectors of bytes are interleaved: the four bytes of a channel then lie together,
// and a dot product multiplies and adds them up.
#include "depthwise_lanes.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// A vector of channels and the weights that it has: from pixel to pixel they are the same.
template <size_t known_fours, bool plain>
struct Channels {
    using Inputs = FourInputs<Range::bytes>;
    const DepthwiseByteLayer& layer;
    const uint32_t* places;
    size_t number;  // of the vector
    const ChannelEnding ending;

    ALWAYS_INLINE void add_four(size_t four, const uint8_t* x, Dots (&sums)[quarters]) const {
        const int8_t* const weights = layer.weights + (number * layer.fours + four) * quarters * vector_bytes;
        Raw taps[dot_inputs], together[quarters];
        UNROLL for (size_t i = 0; i < dot_inputs; i++) taps[i] = load_bytes(x + places[four * dot_inputs + i]);
        interleave(taps, together);
        UNROLL for (size_t i = 0; i < quarters; i++)
            Inputs(reinterpret_cast<Dots>(together[i])).add(load_weights(weights + i * vector_bytes), sums[i]);
    }

    ALWAYS_INLINE void store(const uint8_t* x, const uint8_t* residual, uint8_t* y, size_t count) const {
        Dots sums[1][quarters] = {};
        if constexpr (known_fours > 0)
            for_constants<known_fours>([&](auto four) __attribute__((always_inline)) { add_four(four, x, sums[0]); });
        else
            for (size_t four = 0; four < layer.fours; four++) add_four(four, x, sums[0]);
        store_channels<plain>(ending, sums, residual, y, 0, count);
    }
};

template <size_t known_fours, bool plain>
void all_rows(const DepthwiseByteLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to) {
    for (size_t row = 0; row < io.rows; row++)
        for (size_t number = 0; number < layer.vectors; number++) {
            const Channels<known_fours, plain> channels{layer, places, number, {layer, to, number}};
            for (size_t column = 0; column < io.columns; column++) {
                const uint8_t* const x = io.x + row * io.x_row + column * io.x_pixel;
                const size_t y = (row * io.columns + column) * to.outputs;
                for (size_t at = number * vector_bytes; at < to.outputs; at += layer.vectors * vector_bytes)
                    channels.store(x + at, io.residual ? io.residual + y + at : nullptr, io.y + y + at,
                                   to.outputs - at);
            }
        }
}

template <bool plain>
void all_places(const DepthwiseByteLayer& layer, const uint32_t* places, const PixelRows& io,
                const Requantization& to) {
    if (layer.fours == 7) all_rows<7, plain>(layer, places, io, to);  // 5 x 5
    else all_rows<0, plain>(layer, places, io, to);
}

}  // namespace

void depthwise_pixels(const DepthwiseByteLayer& layer, const uint32_t* places, const PixelRows& io,
                      const Requantization& to) {
    if (layer.threes) return depthwise_threes(layer, places, io, to);
    if (io.residual || to.map) all_places<false>(layer, places, io, to);
    else all_places<true>(layer, places, io, to);
}

}  // namespace sparbor::SPARBOR_KERNELS
