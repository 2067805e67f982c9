// Which of the steps for a dense convolution is the fastest for its shape.
#pragma once

#include "steps.h"

namespace sparbor {

// A dense convolution's row-major weights as floats or as halves, the other null; scale and bias, one an output, or null.
struct FilterArrays {
    const float* weights;
    const uint16_t* halves;
    const float* scale;
    const float* bias;
};

std::unique_ptr<Step> make_dense_convolution(const KernelSet& kernels, Value x, Value y, const Geometry& geometry,
                                             const FilterArrays& arrays, bool relu,
                                             std::optional<Activation> activation);

}  // namespace sparbor
