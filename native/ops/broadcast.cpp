#include "ops/broadcast.h"

#include <algorithm>

namespace sparbor {

void check_broadcast(const Node& node) {
    const Shape& y = node.y();
    Shape largest(y.size(), 1);
    for (size_t input = 0; input < node.inputs(); input++) {
        node.require(node.x(input).size() == y.size(), "values that are broadcast have as many dimensions");
        for (size_t i = 0; i < y.size(); i++) {
            node.require(node.x(input)[i] == y[i] || node.x(input)[i] == 1, "a dimension is neither equal nor 1");
            largest[i] = std::max(largest[i], node.x(input)[i]);
        }
    }
    node.require(largest == y, "the output is larger than what is broadcast");
}

BroadcastStep::BroadcastStep(const std::vector<Value>& x, const Value& y, const NamedPair& kernels,
                             const Ending& ending)
    : left_(x[0].offset / sizeof(float)), right_(x[1].offset / sizeof(float)), y_(y.offset / sizeof(float)),
      loops_(loops_over(y, x)), kernels_(kernels), ending_(ending) {}

void BroadcastStep::run(const Call& call) const {
    float* const memory = reinterpret_cast<float*>(call.memory());
    for_parts(call, loops_, 0.2, [&](const Loops::Steps& at, size_t count) {
        run_part(memory + left_ + at[1], memory + right_ + at[2], memory + y_ + at[0], count);
    });
}

void BroadcastStep::run_part(const float* left, const float* right, float* y, size_t count) const {
    const auto compute = [&](PairKernel kernel, const float* a, const float* b, float* to, size_t numbers) {
        kernel(a, b, to, numbers, ending_.clamp_min);
        if (ending_.activation) ending_.activation->map(to, numbers, ending_.activation->a, ending_.activation->b);
    };
    const auto [y_step, left_step, right_step, unused] = loops_.steps();
    if (y_step == 1 && left_step <= 1 && right_step <= 1 && left_step + right_step > 0) {
        const PairKernel one = left_step == 0 ? kernels_.left_is_one : kernels_.right_is_one;
        return compute(left_step == right_step ? kernels_.both : one, left, right, y, count);
    }
    for (size_t i = 0; i < count; i++)
        compute(kernels_.both, left + i * left_step, right + i * right_step, y + i * y_step, 1);
}

}  // namespace sparbor
