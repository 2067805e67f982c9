// Scores of synapses ranked within branches, and what slots of them are worth.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/training.h"
#include "plan/team.h"

namespace sparbor {

// A matrix in blocks of `neurons` rows, which are divided into groups, and branches of branch_size columns: a group's
// part of a branch is a tile. The last of each may be partly filled.
struct Scores {
    const float* data;
    size_t blocks, neurons, fan_in, group;

    size_t groups() const { return (neurons + group - 1) / group; }  // of a block
    size_t branches() const { return (fan_in + branch_size - 1) / branch_size; }
    size_t tiles() const { return blocks * groups() * branches(); }
};

// `ranks` is of the matrix' shape. `worth` has branch_size numbers for each tile: the means of its neurons' best
// scores, of their second best ones and so on.
void rank_slots(const Team& team, const Ranking& kernel, const Scores& scores, uint8_t* ranks, float* worth);

}  // namespace sparbor
