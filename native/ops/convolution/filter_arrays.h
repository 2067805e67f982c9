// A convolution's layer as dense steps lay it out.
#pragma once

#include <vector>

#include "ops/laid_out_weights.h"

namespace sparbor {

// Row-major weights; scale and bias one an output, or null for ones and zeros.
class FilterArrays {
public:
    // Of filters, whose tensors stay their own, or of a sparse layer, which is spread.
    FilterArrays(const Layer& layer, const Geometry& geometry);
    FilterArrays(const FilterArrays&) = delete;
    FilterArrays& operator=(const FilterArrays&) = delete;

    WeightArray weights;
    const float* scale;
    const float* bias;

private:
    LaidOutWeights spread_;
    std::vector<float> scale_, bias_;
};

}  // namespace sparbor
