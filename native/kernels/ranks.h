// Ranks within branches, as choosing a topology needs them: what the kernel offers. Beside kernels.h, which it adds to.
#pragma once

#include "quads.h"

namespace sparbor {

// For rows, `stride` apart, of at most a branch of scores, none of them NaN: the place of each in its row when the
// largest comes first, and of equals the first. `sums`, as many as a branch has places, has added to it, place by place,
// the rows' scores; a short row is filled up with scores of minus infinity.
using Rank = void (*)(const float* scores, size_t rows, size_t count, size_t stride, uint8_t* ranks, float* sums);

// On branches of branch_size and of quad_branch scores.
struct Ranking {
    Rank on_branches_of_slots, on_branches_of_quads;
};

}  // namespace sparbor
