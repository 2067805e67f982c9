// What is computed number by number: activations, and operators of two values.
#include <cstring>

#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/outputs.h"
#include "ops/typed_elementwise.h"
#include "plan/strided_copy.h"

namespace sparbor {
namespace {

// Over what lies in whole rows, padding and all.
class Apply final : public Step {
public:
    Apply(const Matrix& x, const Matrix& y, Activation activation) : x_(x), y_(y), activation_(activation) {}

    void run(const Call& call) const override {
        const size_t stride = x_.stride;
        split_rows(call, x_, [&](size_t first, size_t last, size_t) {
            const float* x = call.data(x_) + first * stride;
            float* y = call.data(y_) + first * stride;
            if (x != y) std::memcpy(y, x, (last - first) * stride * sizeof(float));
            apply(activation_, y, stride, last - first, x_.columns);
        });
    }

private:
    Matrix x_, y_;
    Activation activation_;
};

// The same of what lies in another way: copied first.
class CopyAndApply final : public Step {
public:
    CopyAndApply(const Value& x, const Value& y, Activation activation)
        : x_(x.offset), y_(*find_laid_out(y)), copy_(x, y), activation_(activation) {}

    void run(const Call& call) const override {
        copy_.run(call.kernels, call.memory() + x_, call.data(y_));
        split_rows(call, y_, [&](size_t first, size_t last, size_t) {
            apply(activation_, call.data(y_) + first * y_.stride, y_.stride, last - first, y_.columns);
        });
    }

private:
    size_t x_;
    Matrix y_;
    StridedCopy copy_;
    Activation activation_;
};

// Two values that lie as the third does, in whole rows: all of their numbers at once, and a ReLU with them.
class PairStep final : public Step {
public:
    PairStep(size_t left, size_t right, const Matrix& y, PairKernel kernel, const Ending& ending)
        : left_(left), right_(right), y_(y), kernel_(kernel), ending_(ending) {}

    void run(const Call& call) const override {
        const size_t stride = y_.stride;
        const float* const memory = reinterpret_cast<const float*>(call.memory());
        split_rows(call, y_, [&](size_t first, size_t last, size_t) {
            const size_t begin = first * stride, count = (last - first) * stride;
            float* const y = call.data(y_) + begin;
            kernel_(memory + left_ + begin, memory + right_ + begin, y, count, ending_.clamp_min);
            if (ending_.activation) apply(*ending_.activation, y, stride, last - first, y_.columns);
        });
    }

private:
    size_t left_, right_;  // in floats
    Matrix y_;
    PairKernel kernel_;
    Ending ending_;
};

void check_same(const Node& node) { node.require(node.x() == node.y()); }

// Of floats, which an activation may follow, or of whole numbers of 32 or 64 bits.
void check_pair(const Node& node) {
    check_broadcast(node);
    const Number type = node.y_type();
    node.require(node.x_type(0) == type && node.x_type(1) == type, "its values are of different types");
    node.require(is_arithmetic(type), "its numbers are not f32, i32 or i64");
    node.require(type == Number::f32 || !node.activation(), "an activation follows numbers that are not f32");
}

std::unique_ptr<Step> make_activation(const Node& node, const Placement& at) {
    const Activation activation = activation_of(node, at.kernels);
    if (!lie_alike_in_whole(at.x[0], at.y)) return std::make_unique<CopyAndApply>(at.x[0], at.y, activation);
    Matrix x = *find_laid_out(at.y);
    x.offset = at.x[0].offset / sizeof(float);
    return std::make_unique<Apply>(x, *find_laid_out(at.y), activation);
}

// The step of an operator of two values.
std::unique_ptr<Step> make_pair(const char* name, const Node& node, const Placement& at) {
    if (node.y_type() != Number::f32) return make_pair_of_wholes(name, node, at);
    const NamedPair& kernels = find_pair(at.kernels, name);
    const Ending ending = ending_of(node, at.kernels);
    const Value &left = at.x[0], &right = at.x[1];
    if (lie_alike_in_whole(left, at.y) && lie_alike_in_whole(right, at.y))
        return std::make_unique<PairStep>(left.offset / sizeof(float), right.offset / sizeof(float),
                                          *find_laid_out(at.y), kernels.both, ending);
    return std::make_unique<BroadcastStep>(at.x, at.y, kernels, ending);
}

std::unique_ptr<Step> make_add(const Node& node, const Placement& at) { return make_pair("add", node, at); }
std::unique_ptr<Step> make_multiply(const Node& node, const Placement& at) { return make_pair("multiply", node, at); }
std::unique_ptr<Step> make_subtract(const Node& node, const Placement& at) { return make_pair("subtract", node, at); }
std::unique_ptr<Step> make_divide(const Node& node, const Placement& at) { return make_pair("divide", node, at); }
std::unique_ptr<Step> make_floor_divide(const Node& node, const Placement& at) {
    return make_pair("floor_divide", node, at);
}
std::unique_ptr<Step> make_remainder(const Node& node, const Placement& at) { return make_pair("remainder", node, at); }
std::unique_ptr<Step> make_power(const Node& node, const Placement& at) { return make_pair("power", node, at); }
std::unique_ptr<Step> make_minimum(const Node& node, const Placement& at) { return make_pair("minimum", node, at); }
std::unique_ptr<Step> make_maximum(const Node& node, const Placement& at) { return make_pair("maximum", node, at); }

}  // namespace

const std::vector<OperatorType>& elementwise_operators() {
    constexpr auto in_place = Aliasing::in_place;
    constexpr auto numbers = Takes::any;
    constexpr auto comes = Lies::as_it_comes;
    constexpr auto maybe = Has::maybe;
    static const std::vector<OperatorType> types = {
        {"activation", 1, Has::no, Has::yes, {}, Takes::floats, comes, in_place, check_same, work_of_reading, no_layout,
         make_activation},
        {"add", 2, Has::no, maybe, {}, numbers, comes, in_place, check_pair, work_of_reading, no_layout, make_add},
        {"multiply", 2, Has::no, maybe, {}, numbers, comes, in_place, check_pair, work_of_reading, no_layout,
         make_multiply},
        {"subtract", 2, Has::no, maybe, {}, numbers, comes, in_place, check_pair, work_of_reading, no_layout,
         make_subtract},
        {"divide", 2, Has::no, maybe, {}, Takes::floats, comes, in_place, check_broadcast, work_of_reading, no_layout,
         make_divide},
        {"floor_divide", 2, Has::no, maybe, {}, numbers, comes, in_place, check_pair, work_of_reading, no_layout,
         make_floor_divide},
        {"remainder", 2, Has::no, maybe, {}, numbers, comes, in_place, check_pair, work_of_reading, no_layout,
         make_remainder},
        {"power", 2, Has::no, maybe, {}, numbers, comes, in_place, check_pair, work_of_reading, no_layout, make_power},
        {"minimum", 2, Has::no, maybe, {}, numbers, comes, in_place, check_pair, work_of_reading, no_layout,
         make_minimum},
        {"maximum", 2, Has::no, maybe, {}, numbers, comes, in_place, check_pair, work_of_reading, no_layout,
         make_maximum},
    };
    return types;
}

}  // namespace sparbor
