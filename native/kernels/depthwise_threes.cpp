// Depthwise convolutions of bytes by kernels of 3 x 3. The vectors of a column of pixels, four rows of it, are
// interleaved once and serve two rows of outputs: one reads the upper three rows, its fourth weights being 0, the other
// the lower three. From one pixel to the next a window keeps the columns that both have.
#include "depthwise_lanes.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t side = 3;

// How far the vectors of a row of outputs lie from each other, in x and in y; how many bytes of outputs are left from
// the first on, and how many of these each uses up: none if each belongs to a pixel of its own.
struct Steps {
    size_t count, x, y;
    size_t left, used;

    ALWAYS_INLINE size_t left_of(size_t step) const { return left - step * used; }
};

// A window of one vector of channels that moves along the rows, by so many columns at a time that are new to it.
template <size_t rows, size_t fresh>
struct Window {
    using Inputs = FourInputs<Range::bytes>;
    const DepthwiseByteLayer& layer;
    const Requantization& to;
    const Steps& steps;
    size_t number;                // of the vector
    size_t row, column;           // how far they are from each other, in bytes of x
    size_t y_row;
    const int8_t* weights;
    Raw columns[side][quarters];  // each where it was written, so the first one is another each time

    ALWAYS_INLINE void take(size_t which, const uint8_t* at) {
        Raw taps[dot_inputs];
        UNROLL for (size_t i = 0; i < dot_inputs; i++) taps[i] = load_bytes(at + (i < side + rows - 1 ? i : 0) * row);
        interleave(taps, columns[which]);
    }

    ALWAYS_INLINE void start(const uint8_t* x) {
        for_constants<side - fresh>([&](auto i) __attribute__((always_inline)) { take(i, x + i * column); });
    }

    // The turn says where the first of its columns is.
    template <size_t turn>
    ALWAYS_INLINE void step(size_t at, const uint8_t* x, const uint8_t* residual, uint8_t* y) {
        for_constants<fresh>([&](auto i) __attribute__((always_inline)) {
            constexpr size_t which = side - fresh + i;
            take((turn * fresh + which) % side, x + at * steps.x + which * column);
        });
        const size_t to_y = at * steps.y;
        for_constants<rows>([&](auto lower) __attribute__((always_inline)) {
            Dots sums[quarters] = {};
            for_constants<side>([&](auto i) __attribute__((always_inline)) {
                for_constants<quarters>([&](auto quarter) __attribute__((always_inline)) {
                    const Inputs inputs(reinterpret_cast<Dots>(columns[(turn * fresh + i) % side][quarter]));
                    const size_t four = (lower * side + i) * quarters + quarter;
                    inputs.add(load_weights(weights + four * vector_bytes), sums[quarter]);
                });
            });
            const size_t place = to_y + lower * y_row;
            store_channels(layer, number, sums, to, residual ? residual + place : nullptr, y + place,
                           steps.left_of(at));
        });
    }

    ALWAYS_INLINE void run(const uint8_t* x, const uint8_t* residual, uint8_t* y) {
        start(x);
        for (size_t at = 0; at < steps.count;) {
            step<0>(at++, x, residual, y);
            if constexpr (fresh == side) continue;
            if (at == steps.count) return;
            step<1>(at++, x, residual, y);
            if (at == steps.count) return;
            step<2>(at++, x, residual, y);
        }
    }
};

template <size_t fresh>
void all_rows(const DepthwiseByteLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& given,
              bool one_pixel) {
    const Requantization to = given;
    const size_t column = places[1], row = places[side], period = layer.vectors * vector_bytes;
    const size_t y_row = io.columns * to.outputs;
    const bool overlap = io.x_row == row;
    const auto some_rows = [&]<size_t rows>(size_t at) {
        for (size_t number = 0; number < layer.vectors; number++) {
            const size_t first = number * vector_bytes, left = to.outputs - first;
            if (first >= to.outputs) break;
            const Steps steps = one_pixel ? Steps{(left + period - 1) / period, period, period, left, period}
                                          : Steps{io.columns, io.x_pixel, to.outputs, left, 0};
            Window<rows, fresh> window{layer, to, steps, number, row, column, y_row,
                                       layer.weights + number * layer.fours * quarters * vector_bytes, {}};
            const size_t y = at * y_row + first;
            window.run(io.x + at * io.x_row + first, io.residual ? io.residual + y : nullptr, io.y + y);
        }
    };
    size_t at = 0;
    if (overlap)
        for (; at + 2 <= io.rows; at += 2) some_rows.template operator()<2>(at);
    for (; at < io.rows; at++) some_rows.template operator()<1>(at);
}

}  // namespace

void depthwise_threes(const DepthwiseByteLayer&, const uint32_t*, const PixelRows&, const Requantization&);

void depthwise_threes(const DepthwiseByteLayer& layer, const uint32_t* places, const PixelRows& io,
                      const Requantization& to) {
    const bool one_pixel = io.columns == 1;
    const size_t step = one_pixel ? layer.vectors * vector_bytes : io.x_pixel;
    if (step == places[1]) return all_rows<1>(layer, places, io, to, one_pixel);
    if (step == 2 * places[1]) return all_rows<2>(layer, places, io, to, one_pixel);
    all_rows<3>(layer, places, io, to, one_pixel);
}

}  // namespace sparbor::SPARBOR_KERNELS
