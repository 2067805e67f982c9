// Training's kernels over a whole batch.
#pragma once

#include "kernels/training.h"
#include "plan/team.h"

namespace sparbor {

// Images as a model has them, an item's numbers side by side; a vector has one pixel.
template <class Real>
struct Batch {
    Real* data;
    size_t items, channels, height, width;
    bool channels_last;  // a pixel's channels lie side by side, and not a channel's pixels

    size_t size() const { return channels * height * width; }
};

// The same in lanes, at least as many as items: each number of all items side by side.
template <class Real>
struct Lanes {
    Real* data;
    size_t channels, height, width, lanes;
    bool channels_last;
    size_t channel, line, pixel;  // how far apart in memory; between two pixels there may be room
};

// A layer's synapses, row by row, and within a row in parts: each pass over a line of pixels takes one part of every
// row, whose inputs a first cache can hold. Part p of row r begins at bounds[p * rows + r] and ends where the next one
// begins, or at bounds[parts * rows + r].
struct Topology {
    const uint32_t* bounds;
    size_t parts, rows;
    const uint32_t* inputs;
    const uint32_t* positions;  // or null, as in SynapseRows

    SynapseRows part(size_t p) const { return {bounds + p * rows, bounds + (p + 1) * rows, inputs, positions}; }
    size_t end(size_t row) const { return row == 0 ? 0 : bounds[parts * rows + row - 1]; }  // of the rows before it
};

// What the kernel sets offer for floats, or for doubles.
template <class Real>
struct TrainingKernels {
    void (*sum)(const SynapseRows&, const SumOf<Real>&, size_t first, size_t last);
    void (*add_dots)(const SynapseRows&, const DotsOf<Real>&, size_t first, size_t last);
    ToBatchLayout<Real> to_batch_layout;
    ToItems<Real> to_items;

    explicit TrainingKernels(const KernelSet&);
};

// What is computed does not depend on the number of threads.

// `x` in lanes, with zeros around it: `top` lines above and as many below, `left` pixels on either side.
template <class Real>
void to_batch_layout(const Team&, const TrainingKernels<Real>&, const Batch<const Real>& x, size_t top, size_t left,
              const Lanes<Real>& lanes);

// The sums of the synapses of each row, a channel of `y`, whose pixels begin where those of `x` do.
template <class Real>
void sum_all(const Team&, const TrainingKernels<Real>&, const Topology&, const Real* weights, const Real* bias,
             const Lanes<const Real>& x, const Batch<Real>& y);

// Adds to the gradient of each synapse. Of the gradients `dy` of the outputs, `top` lines and `left` pixels are margin.
template <class Real>
void add_all_dots(const Team&, const TrainingKernels<Real>&, const Topology&, const Lanes<const Real>& x,
                  const Lanes<const Real>& dy, size_t top, size_t left, Real* gradients);

}  // namespace sparbor
