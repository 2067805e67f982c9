// What is computed number by number: activations, and operators of two values.
#include <cstring>

#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/outputs.h"

namespace sparbor {
namespace {

class Apply final : public Step {
public:
    Apply(Value x, Value y, Activation activation) : x_(x), y_(y), activation_(activation) {}

    void run(const Call& call) const override {
        const size_t stride = row_stride(x_.features);
        split_rows(call, x_, [&](size_t first, size_t last, size_t) {
            const float* x = call.data(x_) + first * stride;
            float* y = call.data(y_) + first * stride;
            if (x != y) std::memcpy(y, x, (last - first) * stride * sizeof(float));
            apply(activation_, y, stride, last - first, x_.features);
        });
    }

private:
    Value x_, y_;
    Activation activation_;
};

// Two values of one shape, whose rows lie alike: all of their numbers at once, and a ReLU with them.
class PairStep final : public Step {
public:
    PairStep(Value left, Value right, Value y, PairKernel kernel, const Ending& ending)
        : left_(left), right_(right), y_(y), kernel_(kernel), ending_(ending) {}

    void run(const Call& call) const override {
        const size_t stride = row_stride(y_.features);
        split_rows(call, y_, [&](size_t first, size_t last, size_t) {
            const size_t begin = first * stride, count = (last - first) * stride;
            float* const y = call.data(y_) + begin;
            kernel_(call.data(left_) + begin, call.data(right_) + begin, y, count, ending_.clamp_min);
            if (ending_.activation) apply(*ending_.activation, y, stride, last - first, y_.features);
        });
    }

private:
    Value left_, right_, y_;
    PairKernel kernel_;
    Ending ending_;
};

void check_same(const Node& node) { node.require(node.x() == node.y()); }

std::unique_ptr<Step> make_activation(const Node& node, const Placement& at) {
    return std::make_unique<Apply>(at.x[0], at.y, activation_of(node, at.kernels));
}

// The step of a commutative operator of two values; `with_one` computes the same of many numbers and one.
std::unique_ptr<Step> make_pair(const char* name, const Node& node, const Placement& at, WithOne with_one) {
    const PairKernel kernel = find_pair(at.kernels, name);
    const Ending ending = ending_of(node, at.kernels);
    if (node.x(0) == node.x(1)) return std::make_unique<PairStep>(at.x[0], at.x[1], at.y, kernel, ending);
    return std::make_unique<BroadcastStep>(at.y, runs_of(node, at), kernel, with_one, ending, relu_of(at.kernels));
}

void plus(const Elementwise& kernels, const float* x, float number, float* y, size_t count) {
    kernels.scale_shift_all(x, 1, number, y, count);
}

std::unique_ptr<Step> make_add(const Node& node, const Placement& at) { return make_pair("add", node, at, plus); }

void times(const Elementwise& kernels, const float* x, float number, float* y, size_t count) {
    kernels.scale_shift_all(x, number, 0, y, count);
}

std::unique_ptr<Step> make_multiply(const Node& node, const Placement& at) {
    return make_pair("multiply", node, at, times);
}

}  // namespace

const std::vector<OperatorType>& elementwise_operators() {
    constexpr auto in_place = Aliasing::in_place;
    static const std::vector<OperatorType> types = {
        {"activation", 1, Has::no, Has::yes, {}, in_place, check_same, work_of_reading, no_layout, make_activation},
        {"add", 2, Has::no, Has::maybe, {}, in_place, check_broadcast, work_of_reading, no_layout, make_add},
        {"multiply", 2, Has::no, Has::maybe, {}, in_place, check_broadcast, work_of_reading, no_layout, make_multiply},
    };
    return types;
}

}  // namespace sparbor
