// Whether a sparse layer is computed sparse or dense: whichever was measured to be faster on the kernel set that runs,
// see docs/kernels.md.
#pragma once

#include "ir/layer.h"
#include "kernels/kernels.h"

namespace sparbor {

// The share of its slots above which a linear layer is faster dense, running so many rows at once.
double linear_share(size_t rows, const KernelSet& kernels);
// The same of one whose weights have 8 bits.
double byte_linear_share(size_t rows, const KernelSet& kernels);
// The same of a convolution, of its synapses. A depthwise one has one output to a group, for which no slots pay.
double convolution_share(const Geometry& geometry, const KernelSet& kernels);

// Whether a sparse layer is faster dense.
bool faster_dense(const Layer& layer, size_t rows, const KernelSet& kernels);
bool faster_dense(const Layer& layer, const Geometry& geometry, const KernelSet& kernels);

// Bytes of what a sparse layer is dense.
uint64_t dense_bytes(const Layer& layer);

}  // namespace sparbor
