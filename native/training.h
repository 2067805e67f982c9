// Training's kernels over a whole batch.
#pragma once

#include "kernels.h"
#include "team.h"

namespace sparbor {

// Where a layer's inputs or outputs lie, in numbers: a batch is cut into chunks of some lanes each, in which the items'
// pixels come line by line. A linear layer has one pixel.
struct Place {
    size_t chunk, line, pixel;
};

struct Sweep {
    size_t rows, chunks, lines, pixels;
    Place x, y;
};

template <class Real>
using SumKernel = void (*)(const SynapseRows&, const SumOf<Real>&, size_t first, size_t last);
template <class Real>
using DotsKernel = void (*)(const SynapseRows&, const DotsOf<Real>&, size_t first, size_t last);

// The jobs are those of the first pixel of the first chunk. What is computed does not depend on the number of threads.
template <class Real>
void sum_all(const Team&, SumKernel<Real>, const SynapseRows&, const SumOf<Real>&, const Sweep&);
template <class Real>
void add_all_dots(const Team&, DotsKernel<Real>, const SynapseRows&, const DotsOf<Real>&, const Sweep&);

}  // namespace sparbor
