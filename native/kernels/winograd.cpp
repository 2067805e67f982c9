// To and from Winograd's tiles, F(2 x 2, 3 x 3), as plain loops over vectors of tiles; compiled like elementwise.cpp,
// once for each kernel set. Of a tile's 4 x 4 inputs, rows and columns become, one after the other,
//     d0 - d2,  d1 + d2,  d2 - d1,  d1 - d3
// and of its 4 x 4 products m, rows and columns become the outputs
//     m0 + m1 + m2,  m1 - m2 - m3.
// Of the 3 x 3 weights, they become
//     g0,  (g0 + g1 + g2) / 2,  (g0 - g1 + g2) / 2,  g2.
#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

struct Pair {
    Vector first, second;
};

// Numbers at even and at odd places, and back.
ALWAYS_INLINE Pair apart(Vector low, Vector high) { return {seconds<0>(low, high), seconds<1>(low, high)}; }

ALWAYS_INLINE Pair together(Vector evens, Vector odds) {
    Integers low, high;
    UNROLL for (size_t lane = 0; lane < lanes; lane++) {
        low[lane] = lane / 2 + lane % 2 * lanes;
        high[lane] = low[lane] + lanes / 2;
    }
    return {shuffled(evens, odds, low), shuffled(evens, odds, high)};
}

// Three numbers become four, for every lane.
ALWAYS_INLINE void transform_weights(const Vector* g, size_t step, Vector* to, size_t to_step) {
    const Vector ends = g[0] + g[2 * step], middle = g[step];
    to[0] = g[0];
    to[to_step] = (ends + middle) * 0.5f;
    to[2 * to_step] = (ends - middle) * 0.5f;
    to[3 * to_step] = g[2 * step];
}

ALWAYS_INLINE Vector load_weights(const float* at) { return load(at); }
ALWAYS_INLINE Vector load_weights(const uint16_t* halves) { return load_halves(halves); }

template <class Number>
void transform_all(const Number* weights, size_t count, float* to) {
    for (size_t i = 0; i < count; i += lanes) {
        Vector g[9], rows[12], transformed[16];
        UNROLL for (size_t k = 0; k < 9; k++) {
            const size_t at = k * count + i, next_block = at + 9 * count;
            g[k] = load_weights(weights + at);
            __builtin_prefetch(weights + next_block);
        }
        UNROLL for (size_t column = 0; column < 3; column++) transform_weights(g + column, 3, rows + column, 3);
        UNROLL for (size_t row = 0; row < 4; row++) transform_weights(rows + 3 * row, 1, transformed + 4 * row, 1);
        UNROLL for (size_t k = 0; k < 16; k++) store(to + k * count + i, transformed[k]);
    }
}

void weights(const WeightArray& weights, size_t count, float* to) {
    with_numbers(weights, [&](const auto* numbers) { transform_all(numbers, count, to); });
}

// A row of the plane, which starts at its column `at`, as rows of tiles see it: four numbers for each, `stride` apart.
void transform_row(const float* row, int64_t width, int64_t at, size_t tiles, float* to, size_t stride) {
    for (size_t tile = 0; tile < tiles; tile += lanes, at += 2 * lanes, to += lanes) {
        const auto from = [&](int64_t column) { return load_between(row + column, -column, width - column); };
        const Pair near = apart(from(at), from(at + lanes)), far = apart(from(at + 2), from(at + lanes + 2));
        store(to, near.first - far.first);
        store(to + stride, near.second + far.first);
        store(to + 2 * stride, far.first - near.second);
        store(to + 3 * stride, near.second - far.second);
    }
}

// Even and odd rows of the plane lie apart: then the tiles of all rows, numbered through, find each of their rows side
// by side.
void input(const Geometry& g, const float* plane, TileRows rows, float* lines, float* to, size_t to_stride) {
    const size_t columns = round_up(rows.count * rows.columns, column_tile);
    const size_t stride = winograd_line(columns, rows.columns);
    for (size_t r = 0; r < 2 * rows.count + 2; r++) {
        const int64_t row = static_cast<int64_t>(2 * rows.first + r) - g.pad_top;
        float* const line = lines + r % 2 * 4 * stride + r / 2 * rows.columns;
        const bool inside = row >= 0 && row < g.height;
        transform_row(inside ? plane + row * g.width : plane, inside ? g.width : 0, -g.pad_left, rows.columns, line,
                      stride);
    }
    for (size_t column = 0; column < 4; column++, to += to_stride) {
        const float *evens = lines + column * stride, *odds = evens + 4 * stride;
        for (size_t tile = 0; tile < columns; tile += lanes) {
            const Vector d0 = load(evens + tile), d1 = load(odds + tile);
            const Vector d2 = load(evens + tile + rows.columns), d3 = load(odds + tile + rows.columns);
            store(to + tile, d0 - d2);
            store(to + 4 * to_stride + tile, d1 + d2);
            store(to + 8 * to_stride + tile, d2 - d1);
            store(to + 12 * to_stride + tile, d1 - d3);
        }
    }
}

ALWAYS_INLINE Pair outputs_of(Vector m0, Vector m1, Vector m2, Vector m3) { return {m0 + m1 + m2, m1 - m2 - m3}; }

void copy_row(const float* from, int64_t width, float* to) {
    int64_t i = 0;
    for (; i + lanes <= width; i += lanes) store(to + i, load(from + i));
    if (i < width) store_first(to + i, load(from + i), width - i);
}

void output(const Geometry& g, const float* products, size_t stride, TileRows rows, float clamp_min, float* lines,
            float* y) {
    const size_t columns = round_up(rows.count * rows.columns, column_tile);
    const Vector least = everywhere(clamp_min);
    float* const line_of[2] = {lines, lines + 2 * columns};
    for (size_t tile = 0; tile < columns; tile += lanes) {
        Pair of[4];  // the columns
        UNROLL for (size_t i = 0; i < 4; i++) {
            const float* m = products + i * stride + tile;
            of[i] = outputs_of(load(m), load(m + 4 * stride), load(m + 8 * stride), load(m + 12 * stride));
        }
        const Pair above = outputs_of(of[0].first, of[1].first, of[2].first, of[3].first);
        const Pair below = outputs_of(of[0].second, of[1].second, of[2].second, of[3].second);
        const Pair both[2] = {together(above.first, above.second), together(below.first, below.second)};
        UNROLL for (size_t i = 0; i < 2; i++) {
            const Pair& row = both[i];
            store(line_of[i] + 2 * tile, row.first < least ? least : row.first);  // keeps NaN
            store(line_of[i] + 2 * tile + lanes, row.second < least ? least : row.second);
        }
    }
    for (size_t r = 0; r < 2 * rows.count; r++) {
        const int64_t row = static_cast<int64_t>(2 * rows.first + r);
        if (row < g.out_height)
            copy_row(line_of[r % 2] + r / 2 * 2 * rows.columns, g.out_width, y + row * g.out_width);
    }
}

}  // namespace

const Winograd winograd{weights, input, output};

}  // namespace sparbor::SPARBOR_KERNELS
