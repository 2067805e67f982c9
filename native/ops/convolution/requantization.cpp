#include "ops/convolution/requantization.h"

#include <cmath>

#include "ops/byte_ending.h"

namespace sparbor {
namespace {

// Of exact products and quotients the nearest float.
float multiplier_of(const Quantization& x, const Quantization& y, float scale) {
    return as_float(double{x.step} * scale / y.step);
}

// What x's zero has added to the sum is taken away again, and the bias added.
float shift_of(const Quantization& x, const Quantization& y, float scale, float bias, int32_t sum) {
    return as_float((bias - double{x.step} * scale * x.zero * sum) / y.step);
}

}  // namespace

// Sums have 32 bits, so what is added up of such multipliers and biases is far from the largest float.
void check_requantization(const Node& node) {
    constexpr float most = 0x1p64f;
    const Layer& layer = *node.layer();
    const Quantization &x = *node.x_quantization(), &y = *node.y_quantization();
    const auto *scale = layer.data<float>("scale"), *bias = layer.data<float>("bias");
    bool near = true;
    for (uint64_t i = 0; i < layer.outputs; i++)
        near &= multiplier_of(x, y, scale[i]) <= most && (!bias || std::abs(double{bias[i]} / y.step) <= most);
    node.require(near, "its output's step is less than its input's, times a scale, or a bias by more than 2^64");
    if (node.inputs() == 2) check_ratio(node, 1);
}

RequantizedOutputs::RequantizedOutputs(const Node& node, const KernelSet& kernels, const std::vector<int32_t>& sums)
    : multiplier_(sums.size()), shift_(sums.size()),
      to_{byte_ending_of(node, kernels), multiplier_.data(), shift_.data(), node.layer()->outputs, 0, 0} {
    const Layer& layer = *node.layer();
    const Quantization &x = *node.x_quantization(), &y = *node.y_quantization();
    const auto *scale = layer.data<float>("scale"), *bias = layer.data<float>("bias");
    for (uint64_t i = 0; i < layer.outputs; i++) {
        multiplier_[i] = multiplier_of(x, y, scale[i]);
        shift_[i] = shift_of(x, y, scale[i], bias ? bias[i] : 0.0f, sums[i]);
    }
    if (node.inputs() == 1) return;
    to_.residual_step = ratio_of(*node.x_quantization(1), y);
    to_.residual_zero = node.x_quantization(1)->zero;
}

}  // namespace sparbor
