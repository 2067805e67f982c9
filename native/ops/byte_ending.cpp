#include "ops/byte_ending.h"

#include <algorithm>
#include <cmath>

namespace sparbor {
namespace {

// The byte of a number without the zero, as `ByteKernels::quantize` has it.
float whole_steps(float number, const Quantization& y) {
    const auto zero = static_cast<float>(y.zero);
    return std::clamp(std::rint(number / y.step), -zero, 255 - zero);
}

}  // namespace

ByteEnding byte_ending_of(const Node& node, const KernelSet& kernels) {
    const Quantization& y = *node.y_quantization();
    const auto zero = static_cast<float>(y.zero);
    ByteEnding ending{nullptr, 0, 0, y.step, -zero, 255 - zero, y.zero};
    if (!node.activation()) return ending;
    const Activation activation = activation_of(node, kernels);
    const std::string& name = node.activation()->name;
    if (name == "relu" || name == "clamp") {
        ending.high = whole_steps(activation.b, y);
        ending.low = std::min(whole_steps(activation.a, y), ending.high);  // as a clamp has it
        return ending;
    }
    ending.map = activation.map;
    ending.a = activation.a;
    ending.b = activation.b;
    return ending;
}

void check_ratio(const Node& node, size_t input) {
    constexpr float most = 0x1p64f;
    node.require(ratio_of(*node.x_quantization(input), *node.y_quantization()) <= most,
                 "its output's step is less than an input's by more than 2^64");
}

}  // namespace sparbor
