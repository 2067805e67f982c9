// Scores of synapses ranked within branches, and what slots of them are worth.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/ranks.h"
#include "plan/team.h"

namespace sparbor {

// A matrix in blocks of `neurons` rows, which are divided into groups. Its columns are divided into input rows of
// `input_row`, and each of these into branches of `branch`: a group's part of a branch is a tile. The last group of a
// block and the last branch of an input row may be partly filled.
struct Scores {
    const float* data;
    size_t blocks, neurons, fan_in, group, input_row, branch;

    size_t groups() const { return (neurons + group - 1) / group; }  // of a block
    size_t branches() const { return fan_in / input_row * ((input_row + branch - 1) / branch); }
    size_t tiles() const { return blocks * groups() * branches(); }
};

// `ranks` is of the matrix' shape. `worth` has as many numbers for each tile as a branch has inputs: the means of its
// neurons' best scores, of their second best ones and so on. `rank` is the kernel for branches of that length.
void rank_slots(const Team& team, Rank rank, const Scores& scores, uint8_t* ranks, float* worth);

}  // namespace sparbor
