// What layers in training are computed with: their synapses, batches as lanes, and scores ranked. Beside kernels.h, which
// it adds to.
#pragma once

#include "kernels.h"

namespace sparbor {

// Synapses of a layer in training, each with a weight of its own: of row r those from firsts[r] to ends[r].
struct SynapseRows {
    const uint32_t* firsts;
    const uint32_t* ends;
    const uint32_t* inputs;     // the row of x that each reads
    const uint32_t* positions;  // where in the weights each one's lies; null: at its own number
};

// y[r] = bias[r] + the sum over the synapses k of row r of weight k times x[inputs[k]], each a row of `columns`
// numbers, whole lane groups; and the same for further pixels. Strides are in numbers.
template <class Real>
struct SumOf {
    const Real* weights;
    const Real* bias;  // else null
    bool goes_on;      // from what y is; the bias is in it
    const Real* x;
    size_t x_stride, x_pixel;
    Real* y;
    size_t y_stride, y_pixel;
    size_t columns, pixels;
};

// To the gradient of each synapse k of row r is added the dot product of x[inputs[k]] and y[r]: of `columns` numbers,
// and as many for each further pixel.
template <class Real>
struct DotsOf {
    Real* gradients;
    const Real* x;
    size_t x_stride, x_pixel;
    const Real* y;
    size_t y_stride, y_pixel;
    size_t columns, pixels;
};

// Kernels for the rows from `first` to `last`.
struct Training {
    void (*sum)(const SynapseRows&, const SumOf<float>&, size_t first, size_t last);
    void (*sum_doubles)(const SynapseRows&, const SumOf<double>&, size_t first, size_t last);
    void (*add_dots)(const SynapseRows&, const DotsOf<float>&, size_t first, size_t last);
    void (*add_dots_of_doubles)(const SynapseRows&, const DotsOf<double>&, size_t first, size_t last);
};

// `numbers` of each of `count` items, item_stride apart, to lanes: those with the same number go `stride` after those
// of the number before. There are column_tile lanes, of which those without an item become zeros. And back.
template <class Real>
using ToBatchLayout = void (*)(const Real* items, size_t item_stride, size_t count, size_t numbers, Real* lanes,
                         size_t stride);
template <class Real>
using ToItems = void (*)(const Real* lanes, size_t stride, size_t count, size_t numbers, Real* items,
                         size_t item_stride);

struct BatchLayout {
    ToBatchLayout<float> to_batch_layout;
    ToBatchLayout<double> to_batch_layout_of_doubles;
    ToItems<float> to_items;
    ToItems<double> to_items_of_doubles;
};

// For rows, `stride` apart, of at most a branch of scores, none of them NaN: the place of each in its row when the
// largest comes first, and of equals the first. `sums`, as many as a branch has places, has added to it, place by place,
// the rows' scores; a short row is filled up with scores of minus infinity.
using Rank = void (*)(const float* scores, size_t rows, size_t count, size_t stride, uint8_t* ranks, float* sums);

// On branches of branch_size and of quad_branch scores.
struct Ranking {
    Rank on_branches_of_slots, on_branches_of_quads;
};

}  // namespace sparbor
