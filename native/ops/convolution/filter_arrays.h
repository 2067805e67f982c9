// A convolution's layer as dense steps lay it out.
#pragma once

#include <vector>

#include "ir/layer.h"
#include "kernels/kernels.h"

namespace sparbor {

// Row-major weights as floats or as halves, the other null; scale and bias one an output, or null for ones and zeros.
class FilterArrays {
public:
    // Of filters, whose tensors stay their own, or of a sparse layer, which is spread.
    FilterArrays(const Layer& layer, const Geometry& geometry);
    FilterArrays(const FilterArrays&) = delete;
    FilterArrays& operator=(const FilterArrays&) = delete;

    const float* weights;
    const uint16_t* halves;
    const float* scale;
    const float* bias;

private:
    std::vector<float> spread_weights_, scale_, bias_;
    std::vector<uint16_t> spread_halves_;
};

}  // namespace sparbor
