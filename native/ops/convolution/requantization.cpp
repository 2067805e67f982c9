#include "ops/convolution/requantization.h"

#include <algorithm>
#include <cmath>

namespace sparbor {
namespace {

constexpr int32_t least_byte = 0, largest_byte = 255;

// Of exact products and quotients the nearest float.
float multiplier_of(const Quantization& x, const Quantization& y, float scale) {
    return as_float(double{x.step} * scale / y.step);
}

// What x's zero has added to the sum is taken away again, and the bias added.
float shift_of(const Quantization& x, const Quantization& y, float scale, float bias, int32_t sum) {
    return as_float((bias - double{x.step} * scale * x.zero * sum) / y.step);
}

float ratio_of(const Quantization& x, const Quantization& y) { return as_float(double{x.step} / y.step); }

// The byte of a number, as `quantize` has it.
int32_t byte_of(float number, const Quantization& as) {
    const float zero = static_cast<float>(as.zero);
    return static_cast<int32_t>(std::clamp(std::rint(number / as.step), least_byte - zero, largest_byte - zero)) +
           as.zero;
}

// An activation that only keeps results within bounds does so with their bytes.
void set_activation(Requantization& to, const Node& node, const KernelSet& kernels) {
    const Quantization& y = *node.y_quantization();
    int32_t low = least_byte, high = largest_byte;
    if (node.activation()) {
        const auto& [name, parameters] = *node.activation();
        const Activation activation = activation_of(node, kernels);
        if (name == "relu" || name == "clamp") {
            low = byte_of(activation.a, y);
            high = byte_of(activation.b, y);
        } else {
            to.map = activation.map;
            to.a = activation.a;
            to.b = activation.b;
        }
    }
    to.low = static_cast<float>(low - y.zero);
    to.high = static_cast<float>(high - y.zero);
}

}  // namespace

// Sums have 32 bits, and what is added to them is no larger than the largest of these.
void check_requantization(const Node& node) {
    constexpr float most = 0x1p64f;
    const Layer& layer = *node.layer();
    const Quantization &x = *node.x_quantization(), &y = *node.y_quantization();
    const auto *scale = layer.data<float>("scale"), *bias = layer.data<float>("bias");
    bool near = node.inputs() == 1 || ratio_of(*node.x_quantization(1), y) <= most;
    for (uint64_t i = 0; i < layer.outputs; i++)
        near &= multiplier_of(x, y, scale[i]) <= most && (!bias || std::abs(as_float(double{bias[i]} / y.step)) <= most);
    node.require(near, "its output's step is so much smaller than its inputs', scales or bias that results are no floats");
}

RequantizedOutputs::RequantizedOutputs(const Node& node, const KernelSet& kernels, const std::vector<int32_t>& sums)
    : multiplier_(sums.size()), shift_(sums.size()), to_{} {
    const Layer& layer = *node.layer();
    const Quantization &x = *node.x_quantization(), &y = *node.y_quantization();
    const auto *scale = layer.data<float>("scale"), *bias = layer.data<float>("bias");
    for (uint64_t i = 0; i < layer.outputs; i++) {
        multiplier_[i] = multiplier_of(x, y, scale[i]);
        shift_[i] = shift_of(x, y, scale[i], bias ? bias[i] : 0.0f, sums[i]);
    }
    to_.multiplier = multiplier_.data();
    to_.shift = shift_.data();
    to_.outputs = layer.outputs;
    if (node.inputs() == 2) {
        to_.residual_step = ratio_of(*node.x_quantization(1), y);
        to_.residual_zero = node.x_quantization(1)->zero;
    }
    to_.step = y.step;
    to_.zero = y.zero;
    set_activation(to_, node, kernels);
}

}  // namespace sparbor
