// Rows that are computed a few at once. Without linkage, as vectors.h.
#pragma once

#include <cstddef>

#include "inlining.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// Rows at equal distances.
struct EquallyApart {
    size_t stride;
    ALWAYS_INLINE size_t operator()(size_t row) const { return row * stride; }
};

template <size_t most, class Tile>
ALWAYS_INLINE void by_rows(size_t first, size_t count, const Tile& tile) {
    if constexpr (most > 0) {
        if (count == most) tile.template operator()<most>(first);
        else by_rows<most - 1>(first, count, tile);
    }
}

// Calls tile.operator()<rows>(first) for all of `count` rows, in as few tiles as there can be, none much smaller than
// the others.
template <size_t most, class Tile>
ALWAYS_INLINE void in_tiles(size_t count, const Tile& tile) {
    const size_t parts = (count + most - 1) / most;
    for (size_t part = 0; part < parts; part++) {
        const size_t first = count * part / parts, last = count * (part + 1) / parts;
        by_rows<most>(first, last - first, tile);
    }
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
