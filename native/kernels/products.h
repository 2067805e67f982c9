// Products of matrices, a tile at a time: the sums of a few rows on the left and a few vectors of columns on the right
// stay in registers. A number of the right one is loaded once for all rows, one of the left is spread for all columns.
// Without linkage, as vectors.h.
#pragma once

#include "row_tiles.h"
#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// How many rows of two vectors have their sums in registers; and how many sums of a vector hide how long one takes to be
// added to, as far as there are registers for two vectors.
#if defined(__AVX512F__)
constexpr size_t most_tile_rows = 14, sums_at_once = 8;
#elif defined(__AVX__)
constexpr size_t most_tile_rows = 6, sums_at_once = 4;
#elif defined(__aarch64__)
constexpr size_t most_tile_rows = 12, sums_at_once = 8;
#else
constexpr size_t most_tile_rows = 5, sums_at_once = 4;
#endif
constexpr size_t tile_vectors = 2;

ALWAYS_INLINE Vector load_weights(const float* at) { return load(at); }
ALWAYS_INLINE Vector load_weights(const uint16_t* at) { return load_halves(at); }

// The left matrix: floats from one row to the next, and from one number that is summed over to the next.
struct Left {
    const float* at;
    size_t row, next;
};

// The right one, floats or halves: from one number that is summed over to the next, and from one vector to the next.
template <class Weight>
struct Right {
    const Weight* at;
    size_t next, vector;
};

template <size_t rows, size_t vectors>
struct Sums {
    Vector at[rows][vectors];
};

template <size_t rows, size_t vectors, size_t chains, class Weight>
ALWAYS_INLINE void add_chains(Vector (&sums)[chains][rows][vectors], const Left& x, const Right<Weight>& y) {
    UNROLL for (size_t chain = 0; chain < chains; chain++) {
        Vector few[vectors];
        UNROLL for (size_t i = 0; i < vectors; i++)
            few[i] = in_register(load_weights(y.at + chain * y.next + i * y.vector));
        UNROLL for (size_t row = 0; row < rows; row++) {
            const Vector one = in_register(everywhere(x.at[row * x.row + chain * x.next]));
            UNROLL for (size_t i = 0; i < vectors; i++) sums[chain][row][i] += few[i] * one;
        }
    }
}

// Adds to the sums what `depth` numbers contribute. Few rows' sums are split over several chains of additions: as many
// for one vector as for two, so that a sum is the same whoever computes it.
template <size_t rows, size_t vectors, class Weight>
ALWAYS_INLINE void add_products(Sums<rows, vectors>& total, Left x, Right<Weight> y, size_t depth) {
    constexpr size_t chains = rows <= sums_at_once ? sums_at_once / rows : 1;
    Vector sums[chains][rows][vectors] = {};
    UNROLL for (size_t row = 0; row < rows; row++)
        UNROLL for (size_t i = 0; i < vectors; i++) sums[0][row][i] = total.at[row][i];
    size_t left = depth;
    for (; left >= chains; left -= chains, x.at += chains * x.next, y.at += chains * y.next)
        add_chains<rows, vectors, chains>(sums, x, y);
    for (; left > 0; left--, x.at += x.next, y.at += y.next)
        add_chains<rows, vectors, 1>(reinterpret_cast<Vector(&)[1][rows][vectors]>(sums[0]), x, y);
    UNROLL for (size_t row = 0; row < rows; row++)
        UNROLL for (size_t i = 0; i < vectors; i++) {
            UNROLL for (size_t chain = 1; chain < chains; chain++) sums[0][row][i] += sums[chain][row][i];
            total.at[row][i] = sums[0][row][i];
        }
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
