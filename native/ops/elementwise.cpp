// What is computed number by number: activations, and sums of two values.
#include <cstring>
#include <limits>

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

// The sum of two values of one shape, whose rows lie alike: all of their numbers at once, and a ReLU with them.
class Add final : public Step {
public:
    Add(Value left, Value right, Value sum, const Ending& ending)
        : left_(left), right_(right), sum_(sum), ending_(ending) {}

    void run(const Call& call) const override {
        const size_t stride = row_stride(sum_.features);
        split_rows(call, sum_, [&](size_t first, size_t last, size_t) {
            float* const sum = call.data(sum_) + first * stride;
            call.kernels.elementwise->add(call.data(left_) + first * stride, call.data(right_) + first * stride, sum,
                                          (last - first) * stride, ending_.clamp_min);
            if (ending_.activation) apply(*ending_.activation, sum, stride, last - first, sum_.features);
        });
    }

private:
    Value left_, right_, sum_;
    Ending ending_;
};

void check_same(const Node& node) { node.require(node.x() == node.y()); }

std::unique_ptr<Step> make_activation(const Node& node, const Placement& at) {
    return std::make_unique<Apply>(at.x[0], at.y, activation_of(node, at.kernels));
}

std::unique_ptr<Step> make_add(const Node& node, const Placement& at) {
    if (node.x(0) == node.x(1)) return std::make_unique<Add>(at.x[0], at.x[1], at.y, ending_of(node, at.kernels));
    return make_broadcast(
        node, at,
        [](const Elementwise& kernels, const float* left, const float* right, float* y, size_t count) {
            kernels.add(left, right, y, count, -std::numeric_limits<float>::infinity());
        },
        [](const Elementwise& kernels, const float* x, float number, float* y, size_t count) {
            kernels.scale_shift_all(x, 1, number, y, count);
        });
}

}  // namespace

const std::vector<OperatorType>& elementwise_operators() {
    constexpr auto in_place = Aliasing::in_place;
    static const std::vector<OperatorType> types = {
        {"activation", 1, Has::no, Has::yes, {}, in_place, check_same, work_of_reading, no_layout, make_activation},
        {"add", 2, Has::no, Has::maybe, {}, in_place, check_broadcast, work_of_reading, no_layout, make_add},
    };
    return types;
}

}  // namespace sparbor
