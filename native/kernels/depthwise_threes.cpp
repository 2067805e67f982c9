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
};

// A window of one vector of channels that moves along the rows, by so many columns at a time that are new to it.
template <size_t rows, size_t fresh, bool plain>
struct Window {
    using Inputs = FourInputs<Range::bytes>;
    const DepthwiseByteLayer& layer;
    const Requantization& to;
    const Ending ending;
    size_t number;                // of the vector
    size_t row, column;           // how far they are from each other, in bytes of x
    size_t y_row;
    const int8_t* weights;
    const uint8_t* x;             // where the columns begin that are new next
    const uint8_t* residual;
    uint8_t* y;
    Steps steps;                  // those that are left
    Raw columns[side][quarters];  // each where it was written, so the first one is another each time

    ALWAYS_INLINE void take(size_t which, const uint8_t* at) {
        constexpr size_t taken = side + rows - 1;
        Raw taps[dot_inputs];
        for_constants<dot_inputs>([&](auto i) __attribute__((always_inline)) {
            if constexpr (i < taken) taps[i] = load_bytes(at + i * row);
            else taps[i] = taps[0];
        });
        interleave(taps, columns[which]);
    }

    ALWAYS_INLINE void start() {
        for_constants<side - fresh>([&](auto i) __attribute__((always_inline)) {
            take(i, x);
            x += column;
        });
    }

    // The turn says where the first of its columns is. Returns whether another step follows.
    template <size_t turn>
    ALWAYS_INLINE bool step() {
        for_constants<fresh>([&](auto i) __attribute__((always_inline)) {
            take((turn * fresh + side - fresh + i) % side, x + i * column);
        });
        Dots sums[rows][quarters] = {};
        for_constants<side * quarters>([&](auto place) __attribute__((always_inline)) {
            constexpr size_t i = place / quarters, quarter = place % quarters;
            const Inputs inputs(reinterpret_cast<Dots>(columns[(turn * fresh + i) % side][quarter]));
            for_constants<rows>([&](auto lower) __attribute__((always_inline)) {
                const int8_t* const four = weights + (lower * side * quarters + place) * vector_bytes;
                inputs.add(load_weights(four), sums[lower][quarter]);
            });
        });
        store_channels<plain>(layer, number, sums, to, ending, residual, y, y_row, steps.left);
        x += steps.x;
        y += steps.y;
        if constexpr (!plain)
            if (residual) residual += steps.y;
        steps.left -= steps.used;
        return --steps.count > 0;
    }

    ALWAYS_INLINE void run() {
        start();
        if constexpr (fresh == side)
            while (step<0>()) {}
        else
            while (step<0>() && step<1>() && step<2>()) {}
    }
};

template <size_t fresh, bool plain>
void all_rows(const DepthwiseByteLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to,
              bool one_pixel) {
    const size_t column = places[1], row = places[side], period = layer.vectors * vector_bytes;
    const size_t y_row = io.columns * to.outputs;
    const bool overlap = io.x_row == row;
    const auto some_rows = [&]<size_t rows>(size_t at) {
        for (size_t number = 0; number < layer.vectors; number++) {
            const size_t first = number * vector_bytes, left = to.outputs - first;
            if (first >= to.outputs) break;
            const Steps steps = one_pixel ? Steps{(left + period - 1) / period, period, period, left, period}
                                          : Steps{io.columns, io.x_pixel, to.outputs, left, 0};
            const size_t y = at * y_row + first;
            Window<rows, fresh, plain> window{layer, to, Ending(to), number, row, column, y_row,
                                              layer.weights + number * layer.fours * quarters * vector_bytes,
                                              io.x + at * io.x_row + first, io.residual ? io.residual + y : nullptr,
                                              io.y + y, steps, {}};
            window.run();
        }
    };
    size_t at = 0;
    if (overlap)
        for (; at + 2 <= io.rows; at += 2) some_rows.template operator()<2>(at);
    for (; at < io.rows; at++) some_rows.template operator()<1>(at);
}

template <bool plain>
void by_steps(const DepthwiseByteLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to) {
    const bool one_pixel = io.columns == 1;
    const size_t step = one_pixel ? layer.vectors * vector_bytes : io.x_pixel;
    if (step == places[1]) return all_rows<1, plain>(layer, places, io, to, one_pixel);
    if (step == 2 * places[1]) return all_rows<2, plain>(layer, places, io, to, one_pixel);
    all_rows<3, plain>(layer, places, io, to, one_pixel);
}

}  // namespace

void depthwise_threes(const DepthwiseByteLayer&, const uint32_t*, const PixelRows&, const Requantization&);

void depthwise_threes(const DepthwiseByteLayer& layer, const uint32_t* places, const PixelRows& io,
                      const Requantization& to) {
    if (io.residual || to.map) by_steps<false>(layer, places, io, to);
    else by_steps<true>(layer, places, io, to);
}

}  // namespace sparbor::SPARBOR_KERNELS
