// What goes through the numbers along one dimension in their order: the place of the largest, and running sums.
#include <type_traits>

#include "ops/families.h"
#include "ops/loops.h"
#include "ops/number_types.h"
#include "ops/outputs.h"

namespace sparbor {
namespace {

// Calls line(x, y) for the first number of each line along a dimension, in numbers from the first of each value.
class Lines {
public:
    Lines(const Value& x, const Value& y, size_t axis)
        : size(x.shape[axis]), x_step(x.strides[axis]), y_step(y.strides[axis]),
          loops_(without(x.shape, axis), {x.strides, y.strides}) {}

    template <class Line>
    void each(const Call& call, const Line& line) const {
        for_parts(call, loops_, static_cast<double>(size), [&](const Loops::Steps& at, size_t count) {
            for (size_t i = 0; i < count; i++) line(at[0] + i * loops_.steps()[0], at[1] + i * loops_.steps()[1]);
        });
    }

    size_t size, x_step, y_step;

private:
    static Shape without(Shape shape, size_t axis) {
        shape[axis] = 1;
        return shape;
    }
    Loops loops_;
};

template <class Number>
bool is_nan(Number number) {
    return number != number;
}

// The place of the first that none is before in rank; what is no number has the highest.
template <class Number, class Before>
class PlaceStep final : public Step {
public:
    PlaceStep(const Placement& at, size_t axis) : x_(at.x[0].offset), y_(at.y.offset), lines_(at.x[0], at.y, axis) {}

    void run(const Call& call) const override {
        const auto* const all = reinterpret_cast<const Number*>(call.memory() + x_);
        auto* const places = reinterpret_cast<int64_t*>(call.memory() + y_);
        lines_.each(call, [&](size_t begin, size_t y) {
            const Number* x = all + begin;
            Number best = *x;
            size_t place = 0;
            for (size_t i = 1; i < lines_.size; i++) {
                x += lines_.x_step;
                if (Before::of(*x, best) || (is_nan(*x) && !is_nan(best))) best = *x, place = i;
            }
            places[y] = static_cast<int64_t>(place);
        });
    }

private:
    size_t x_, y_;
    Lines lines_;
};

struct Larger { template <class N> static bool of(N left, N right) { return left > right; } };
struct Smaller { template <class N> static bool of(N left, N right) { return left < right; } };

// Floats are added as doubles; whole numbers wrap around.
template <class Number>
class RunningSumStep final : public Step {
public:
    RunningSumStep(const Placement& at, size_t axis)
        : x_(at.x[0].offset), y_(at.y.offset), lines_(at.x[0], at.y, axis) {}

    void run(const Call& call) const override {
        using Sum = std::conditional_t<std::is_same_v<Number, float>, double, uint64_t>;
        const auto* const all = reinterpret_cast<const Number*>(call.memory() + x_);
        auto* const sums = reinterpret_cast<Number*>(call.memory() + y_);
        lines_.each(call, [&](size_t x, size_t y) {
            Sum sum = 0;
            for (size_t i = 0; i < lines_.size; i++, x += lines_.x_step, y += lines_.y_step) {
                sum += static_cast<Sum>(all[x]);
                sums[y] = static_cast<Number>(sum);
            }
        });
    }

private:
    size_t x_, y_;
    Lines lines_;
};

void check_place(const Node& node) {
    const size_t axis = node.axis();
    node.require(is_arithmetic(node.x_type()), "its numbers are not f32, i32 or i64");
    node.require(node.y_type() == Number::i64, "its output is not i64");
    node.require(node.x().size() == node.y().size());
    for (size_t i = 0; i < node.y().size(); i++) node.require(node.y()[i] == (i == axis ? 1 : node.x()[i]));
}

void check_running_sum(const Node& node) {
    node.axis();
    node.require(is_arithmetic(node.x_type()), "its numbers are not f32, i32 or i64");
    node.require(node.x_type() == node.y_type() && node.x() == node.y());
}

template <class Before>
std::unique_ptr<Step> make_place(const Node& node, const Placement& at) {
    return with_arithmetic_type(node.x_type(), [&](auto x) -> std::unique_ptr<Step> {
        return std::make_unique<PlaceStep<typename decltype(x)::Number, Before>>(at, node.axis());
    });
}

std::unique_ptr<Step> make_running_sum(const Node& node, const Placement& at) {
    return with_arithmetic_type(node.x_type(), [&](auto x) -> std::unique_ptr<Step> {
        return std::make_unique<RunningSumStep<typename decltype(x)::Number>>(at, node.axis());
    });
}

}  // namespace

const std::vector<OperatorType>& scan_operators() {
    constexpr auto any = Takes::any;
    constexpr auto comes = Lies::as_it_comes;
    constexpr auto none = Aliasing::none;
    const std::vector<SettingRule> axis = {{"axis", SettingRule::Type::whole}};
    static const std::vector<OperatorType> types = {
        {"argmax", 1, Has::no, Has::no, axis, any, comes, none, check_place, work_of_reading, no_layout,
         make_place<Larger>},
        {"argmin", 1, Has::no, Has::no, axis, any, comes, none, check_place, work_of_reading, no_layout,
         make_place<Smaller>},
        {"cumulative_sum", 1, Has::no, Has::no, axis, any, comes, Aliasing::in_place, check_running_sum,
         work_of_reading, no_layout, make_running_sum},
    };
    return types;
}

}  // namespace sparbor
