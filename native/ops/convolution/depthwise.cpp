#include "ops/convolution/depthwise.h"

#include <cmath>

namespace sparbor {
namespace {

float value_of(float weight) { return weight; }

float value_of(uint16_t half) {
    const int exponent = half >> 10 & 31, mantissa = half & 1023;
    const float size = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                     : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
    return half & 0x8000 ? -size : size;
}

}  // namespace

DepthwiseConvolution::DepthwiseConvolution(const Matrix& x, const Matrix& y, const Geometry& geometry,
                                           DepthwiseKernel kernel, const FilterArrays& arrays, const Ending& ending)
    : x_(x),
      y_(y),
      geometry_(geometry),
      kernel_(kernel),
      weights_(geometry.out_channels * geometry.kernel_h * geometry.kernel_w),
      scale_(padded(arrays.scale, geometry.out_channels, 1, 1.0f)),
      bias_(padded(arrays.bias, geometry.out_channels, 1, 0.0f)),
      clamp_min_(ending.clamp_min),
      activation_(ending.activation) {
    with_numbers(arrays.weights, [&](const auto* weights) {
        for (size_t i = 0; i < weights_.size(); i++) weights_[i] = value_of(weights[i]);
    });
}

void DepthwiseConvolution::run(const Call& call) const {
    const size_t taps = geometry_.kernel_h * geometry_.kernel_w, outputs = geometry_.out_channels;
    const size_t multiplier = outputs / geometry_.channels;
    const size_t planes = y_.rows;
    const double work = 0.03 * static_cast<double>(planes * y_.columns * taps);
    call.split(planes, work, [&](size_t first, size_t last, size_t) {
        for (size_t i = first; i < last; i++) {
            const size_t output = i % outputs;
            float* const y = call.data(y_) + i * y_.stride;
            kernel_({&geometry_, call.data(x_) + i / multiplier * x_.stride, &weights_[output * taps], scale_[output],
                     bias_[output], clamp_min_, y});
            if (activation_) activation_->map(y, y_.columns, activation_->a, activation_->b);
        }
    });
}

}  // namespace sparbor
