// Training's kernels over a whole batch.
#pragma once

#include "kernels.h"
#include "team.h"

namespace sparbor {

// Images as a model has them, an item's numbers side by side; a vector has one pixel.
template <class Real>
struct Batch {
    Real* data;
    size_t items, channels, height, width;
    bool channels_last;  // a pixel's channels lie side by side, and not a channel's pixels

    size_t size() const { return channels * height * width; }
};

// The same in lanes: the batch is cut into chunks of `lanes` items, whose numbers come in the order of the batch.
template <class Real>
struct Lanes {
    Real* data;
    size_t chunks, channels, height, width, lanes;
    bool channels_last;

    // How far apart in memory.
    size_t channel() const { return channels_last ? lanes : height * width * lanes; }
    size_t pixel() const { return channels_last ? channels * lanes : lanes; }
    size_t line() const { return width * pixel(); }
    size_t chunk() const { return channels * height * width * lanes; }
};

// What the kernel sets offer for floats, or for doubles.
template <class Real>
struct TrainingKernels {
    void (*sum)(const SynapseRows&, const SumOf<Real>&, size_t first, size_t last);
    void (*add_dots)(const SynapseRows&, const DotsOf<Real>&, size_t first, size_t last);
    ToLanes<Real> to_lanes;
    ToItems<Real> to_items;

    explicit TrainingKernels(const KernelSet&);
};

// What is computed does not depend on the number of threads.

// `x` in lanes, with zeros around it: `top` lines above and as many below, `left` pixels on either side.
template <class Real>
void to_lanes(const Team&, const TrainingKernels<Real>&, const Batch<const Real>& x, size_t top, size_t left,
              const Lanes<Real>& lanes);

// The sums of the synapses of each row, a channel of `y`, whose pixels begin where those of `x` do.
template <class Real>
void sum_all(const Team&, const TrainingKernels<Real>&, const SynapseRows&, const Real* weights, const Real* bias,
             const Lanes<const Real>& x, const Batch<Real>& y);

// Adds to the gradient of each synapse. Of the gradients `dy` of the outputs, `top` lines and `left` pixels are margin.
template <class Real>
void add_all_dots(const Team&, const TrainingKernels<Real>&, const SynapseRows&, const Lanes<const Real>& x,
                  const Lanes<const Real>& dy, size_t top, size_t left, Real* gradients);

}  // namespace sparbor
