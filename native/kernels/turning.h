// As many vectors as one has lanes, turned: what was lane i of each becomes vector i. Without linkage, as vectors.h.
#pragma once

#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// The numbers of two vectors in turn, from the first or from the middle on.
template <bool upper>
ALWAYS_INLINE Vector in_turn(Vector a, Vector b) {
    Integers which;
    UNROLL for (size_t lane = 0; lane < lanes; lane++) which[lane] = (upper ? lanes / 2 : 0) + lane / 2 + lane % 2 * lanes;
    return shuffled(a, b, which);
}

// Vectors that lie half of all apart are put in turn, as often as halving leaves more than one.
ALWAYS_INLINE void turn(Vector (&tile)[lanes]) {
    Vector next[lanes];
    UNROLL for (size_t size = lanes; size > 1; size /= 2) {
        UNROLL for (size_t i = 0; i < lanes / 2; i++) {
            next[2 * i] = in_turn<false>(tile[i], tile[i + lanes / 2]);
            next[2 * i + 1] = in_turn<true>(tile[i], tile[i + lanes / 2]);
        }
        UNROLL for (size_t i = 0; i < lanes; i++) tile[i] = next[i];
    }
}

// `count` numbers of each of `rows` rows, at most `lanes`, to columns: number i of them to to[i * stride], a vector with
// zeros for the rows that there are not.
template <class Row>
ALWAYS_INLINE void rows_to_columns(size_t rows, size_t count, const Row& row, float* to, size_t stride) {
    for (size_t first = 0; first < count; first += lanes) {
        Vector tile[lanes];
        const int64_t left = static_cast<int64_t>(count - first);
        UNROLL for (size_t i = 0; i < lanes; i++)
            tile[i] = i < rows ? load_between(row(i) + first, 0, left) : Vector{};
        turn(tile);
        UNROLL for (int64_t i = 0; i < lanes; i++)
            if (i < left) store(to + (first + i) * stride, tile[i]);
    }
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
