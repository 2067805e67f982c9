// Training's kernels over a whole batch.
#pragma once

#include "kernels.h"
#include "team.h"

namespace sparbor {

// A batch is cut into `chunks` of some lanes each; a layer's rows have `lines` in each chunk, one for a linear layer and
// one for each line of pixels for a convolution. Where those begin, in numbers:
struct Sweep {
    size_t rows, chunks, lines;
    size_t x_chunk, x_line;
    size_t y_chunk, y_line;
};

template <class Real>
using SumKernel = void (*)(const SynapseRows&, const SumOf<Real>&, size_t first, size_t last);
template <class Real>
using DotsKernel = void (*)(const SynapseRows&, const DotsOf<Real>&, size_t first, size_t last);

// The jobs are those of the first line of the first chunk. What is computed does not depend on the number of threads.
template <class Real>
void sum_all(const Team&, SumKernel<Real>, const SynapseRows&, const SumOf<Real>&, const Sweep&);
template <class Real>
void add_all_dots(const Team&, DotsKernel<Real>, const SynapseRows&, const DotsOf<Real>&, const Sweep&);

}  // namespace sparbor
