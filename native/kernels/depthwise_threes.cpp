// Depthwise convolutions of bytes by kernels of 3 x 3, two rows of outputs at a time. Where those are neighbours in x,
// the vectors of a column of pixels, four rows of it, are interleaved once and serve both: one reads the upper three
// rows, its fourth weights being 0, the other the lower three. From one pixel to the next a window keeps the columns
// that both have.
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

// A window of one vector of channels that moves along the rows, by so many columns at a time that are new to it. If
// `shared`, rows of outputs read the same columns.
template <size_t rows, size_t fresh, bool shared, bool plain>
struct Window {
    static constexpr size_t read = shared ? 1 : rows;  // columns that are read side by side
    static constexpr size_t lines = shared ? side + rows - 1 : side * rows;  // of x, which those lie on
    using Inputs = FourInputs<Range::bytes>;
    const ChannelEnding ending;
    size_t column, y_row;         // how far they are from each other, in bytes of x and of y
    const int8_t* weights;
    const uint8_t* line[lines];   // where each begins
    size_t x;                     // where the columns begin that are new next, on each line
    const uint8_t* residual;
    uint8_t* y;
    Steps steps;                  // those that are left
    Raw columns[read][side][quarters];  // each where it was written, so the first one is another each time

    ALWAYS_INLINE void take(size_t which, size_t at) {
        constexpr size_t taken = shared ? side + rows - 1 : side;
        for_constants<read>([&](auto own) __attribute__((always_inline)) {
            Raw taps[dot_inputs];
            for_constants<dot_inputs>([&](auto i) __attribute__((always_inline)) {
                if constexpr (i < taken) taps[i] = in_register(load_bytes(line[own * side + i] + at));
                else taps[i] = taps[0];
            });
            interleave(taps, columns[own][which]);
        });
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
        Dots sums[rows][quarters] = {};
        for_constants<side>([&](auto i) __attribute__((always_inline)) {
            constexpr size_t which = (turn * fresh + i) % side, kept = side - fresh;
            if constexpr (i >= kept) take(which, x + (i - kept) * column);
            for_constants<quarters>([&](auto quarter) __attribute__((always_inline)) {
                Dots some = load_weights(weights + (i * quarters + quarter) * vector_bytes);
                if constexpr (rows > 1 && !shared) some = in_register(some);
                for_constants<rows>([&](auto row) __attribute__((always_inline)) {
                    constexpr size_t own = shared ? 0 : +row, lower = shared ? +row : 0;
                    if constexpr (lower > 0)
                        some = load_weights(weights + ((lower * side + i) * quarters + quarter) * vector_bytes);
                    Inputs(reinterpret_cast<Dots>(columns[own][which][quarter])).add(some, sums[row][quarter]);
                });
            });
        });
        store_channels<plain>(ending, sums, residual, y, y_row, steps.left);
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
    const auto some_rows = [&]<size_t rows, bool shared>(size_t at) {
        for (size_t number = 0; number < layer.vectors; number++) {
            const size_t first = number * vector_bytes, left = to.outputs - first;
            if (first >= to.outputs) break;
            const Steps steps = one_pixel ? Steps{(left + period - 1) / period, period, period, left, period}
                                          : Steps{io.columns, io.x_pixel, to.outputs, left, 0};
            const size_t y = at * y_row + first;
            Window<rows, fresh, shared, plain> window{
                {layer, to, number}, column, y_row, layer.weights + number * layer.fours * quarters * vector_bytes, {},
                0, io.residual ? io.residual + y : nullptr, io.y + y, steps, {}};
            const uint8_t* const x = io.x + at * io.x_row + first;
            for (size_t i = 0; i < window.lines; i++)
                window.line[i] = shared ? x + i * row : x + i / side * io.x_row + i % side * row;
            window.run();
        }
    };
    size_t at = 0;
    for (; at + 2 <= io.rows; at += 2)
        if (io.x_row == row) some_rows.template operator()<2, true>(at);
        else some_rows.template operator()<2, false>(at);
    if (at < io.rows) some_rows.template operator()<1, true>(at);
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

void depthwise_threes(const DepthwiseByteLayer& layer, const uint32_t* places, const PixelRows& io,
                      const Requantization& to) {
    if (io.residual || to.map) by_steps<false>(layer, places, io, to);
    else by_steps<true>(layer, places, io, to);
}

}  // namespace sparbor::SPARBOR_KERNELS
