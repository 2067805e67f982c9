#include "ops/broadcast.h"

#include <algorithm>

namespace sparbor {
namespace {

constexpr float unbounded = -std::numeric_limits<float>::infinity();

// How far an operand moves with each dimension of the output: not at all where it has a single number.
std::vector<size_t> steps_of(const Value& operand) {
    std::vector<size_t> steps = operand.strides;
    for (size_t i = 0; i < steps.size(); i++)
        if (operand.shape[i] == 1) steps[i] = 0;
    return steps;
}

}  // namespace

void check_broadcast(const Node& node) {
    const Shape& y = node.y();
    for (size_t input = 0; input < node.inputs(); input++) {
        node.require(node.x(input).size() == y.size(), "values that are broadcast have as many dimensions");
        for (size_t i = 0; i < y.size(); i++)
            node.require(node.x(input)[i] == y[i] || node.x(input)[i] == 1, "a dimension is neither equal nor 1");
    }
    for (size_t i = 0; i < y.size(); i++)
        node.require(y[i] == std::max(node.x(0)[i], node.x(1)[i]), "the output is larger than what is broadcast");
}

BroadcastRuns::BroadcastRuns(const Value& left, const Value& right, const Value& y) {
    const std::vector<size_t> left_steps = steps_of(left), right_steps = steps_of(right);
    for (size_t i = y.shape.size(); i-- > 0;)
        if (y.shape[i] > 1) add({y.shape[i], y.strides[i], left_steps[i], right_steps[i]});
    const auto flat = [](size_t step) { return step <= 1; };
    const bool moves = !around_.empty() && around_[0].left + around_[0].right > 0;
    if (moves && around_[0].y == 1 && flat(around_[0].left) && flat(around_[0].right)) {
        length_ = around_[0].size;
        left_moves_ = around_[0].left == 1;
        right_moves_ = around_[0].right == 1;
        around_.erase(around_.begin());
    }
    for (const Around& each : around_) count_ *= each.size;
}

// The next dimension outwards, which is one with the last where all three go on where that ends.
void BroadcastRuns::add(const Around& dimension) {
    if (!around_.empty()) {
        Around& last = around_.back();
        if (dimension.y == last.y * last.size && dimension.left == last.left * last.size &&
            dimension.right == last.right * last.size) {
            last.size *= dimension.size;
            return;
        }
    }
    around_.push_back(dimension);
}

BroadcastRuns::Offsets BroadcastRuns::run(size_t number) const {
    Offsets at{};
    for (const Around& each : around_) {
        const size_t index = number % each.size;
        number /= each.size;
        at.y += index * each.y;
        at.left += index * each.left;
        at.right += index * each.right;
    }
    return at;
}

BroadcastStep::BroadcastStep(const Value& left, const Value& right, const Value& y, PairKernel kernel, WithOne with_one,
                             Ending ending, Activation relu)
    : left_(left.offset / sizeof(float)), right_(right.offset / sizeof(float)), y_(y.offset / sizeof(float)),
      runs_(left, right, y), kernel_(kernel), with_one_(with_one), ending_(ending), relu_(relu) {}

void BroadcastStep::run(const Call& call) const {
    float* const memory = reinterpret_cast<float*>(call.memory());
    const Elementwise& kernels = *call.kernels.elementwise;
    const double work = 0.2 * static_cast<double>(runs_.count() * runs_.length());
    call.split(runs_.count(), work, [&](size_t first, size_t last, size_t) {
        for (size_t i = first; i < last; i++) {
            const BroadcastRuns::Offsets at = runs_.run(i);
            run_once(kernels, memory + left_ + at.left, memory + right_ + at.right, memory + y_ + at.y);
        }
    });
}

void BroadcastStep::run_once(const Elementwise& kernels, const float* left, const float* right, float* y) const {
    const size_t length = runs_.length();
    if (runs_.right_is_one()) with_one_(kernels, left, *right, y, length);
    else if (runs_.left_is_one()) with_one_(kernels, right, *left, y, length);
    else kernel_(left, right, y, length, unbounded);
    if (ending_.clamp_min > unbounded) relu_.map(y, length, relu_.a, relu_.b);
    if (ending_.activation) ending_.activation->map(y, length, ending_.activation->a, ending_.activation->b);
}

}  // namespace sparbor
