// Convolutions of each channel on its own, for the kernel sizes and strides that have a kernel of their own.
#pragma once

#include "ops/convolution/filter_arrays.h"
#include "ops/outputs.h"

namespace sparbor {

class DepthwiseConvolution final : public Step {
public:
    DepthwiseConvolution(const Matrix& x, const Matrix& y, const Geometry& geometry, DepthwiseKernel kernel,
                         const FilterArrays& arrays, const Ending& ending);
    void run(const Call& call) const override;

private:
    Matrix x_, y_;
    Geometry geometry_;
    DepthwiseKernel kernel_;
    std::vector<float> weights_, scale_, bias_;
    float clamp_min_;
    std::optional<Activation> activation_;
};

}  // namespace sparbor
