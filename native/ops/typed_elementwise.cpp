// What is computed number by number of values of any type: comparisons, logic, choices, conversions.
#include <limits>

#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/typed_runs.h"

namespace sparbor {
namespace {

struct Equal { template <class X> static bool of(X left, X right) { return left == right; } };
struct NotEqual { template <class X> static bool of(X left, X right) { return left != right; } };
struct Less { template <class X> static bool of(X left, X right) { return left < right; } };
struct LessEqual { template <class X> static bool of(X left, X right) { return left <= right; } };
struct Greater { template <class X> static bool of(X left, X right) { return left > right; } };
struct GreaterEqual { template <class X> static bool of(X left, X right) { return left >= right; } };
struct And { static bool of(uint8_t left, uint8_t right) { return (left != 0) & (right != 0); } };
struct Or { static bool of(uint8_t left, uint8_t right) { return (left | right) != 0; } };
struct Xor { static bool of(uint8_t left, uint8_t right) { return (left != 0) != (right != 0); } };
struct Not { template <class Y> static Y of(uint8_t x) { return x == 0; } };
struct IsTrue { template <class Y, class X> static Y of(X x) { return x != 0; } };

// Towards 0; beyond the type its largest or smallest number, and 0 for what is no number.
struct Converted {
    template <class Y, class X>
    static Y of(X x) {
        if constexpr (std::is_same_v<X, float> && !std::is_same_v<Y, float>) {
            constexpr auto low = std::numeric_limits<Y>::min(), high = std::numeric_limits<Y>::max();
            constexpr float above = static_cast<float>(high / 2 + 1) * 2;
            return x >= above ? high : x <= static_cast<float>(low) ? low : x != x ? Y{0} : static_cast<Y>(x);
        } else {
            return static_cast<Y>(x);
        }
    }
};

template <class N>
void choose(const Places& at, const Loops::Steps& steps, size_t count) {
    N* const y = as<N>(at[0]);
    const uint8_t* const condition = as<uint8_t>(at[1]);
    const N *const left = as<N>(at[2]), *const right = as<N>(at[3]);
    if (steps == Loops::Steps{1, 1, 1, 1})
        for (size_t i = 0; i < count; i++) y[i] = condition[i] ? left[i] : right[i];
    else
        for (size_t i = 0; i < count; i++)
            y[i * steps[0]] = condition[i * steps[1]] ? left[i * steps[2]] : right[i * steps[3]];
}

void check_comparison(const Node& node) {
    check_broadcast(node);
    node.require(node.x_type(0) == node.x_type(1), "its inputs are of different types");
    node.require(node.y_type() == Number::boolean, "its output is not bool");
}

void check_logic(const Node& node) {
    check_broadcast(node);
    for (size_t i = 0; i < node.inputs(); i++)
        node.require(node.x_type(i) == Number::boolean, "its inputs are not all bool");
    node.require(node.y_type() == Number::boolean, "its output is not bool");
}

void check_where(const Node& node) {
    check_broadcast(node);
    node.require(node.x_type(0) == Number::boolean, "its condition is not bool");
    node.require(node.x_type(1) == node.y_type() && node.x_type(2) == node.y_type(),
                 "what it chooses from is of another type than its output");
}

void check_cast(const Node& node) { node.require(node.x() == node.y()); }

std::unique_ptr<Step> made(const Placement& at, TypedRun run) {
    return std::make_unique<TypedStep>(at.x, at.y, run);
}

template <class Of>
std::unique_ptr<Step> make_comparison(const Node& node, const Placement& at) {
    return made(at, with_type(node.x_type(), [](auto x) -> TypedRun {
        return run_two<Of, uint8_t, typename decltype(x)::Number>;
    }));
}

template <class Of>
std::unique_ptr<Step> make_logic(const Node&, const Placement& at) {
    return made(at, run_two<Of, uint8_t, uint8_t>);
}

std::unique_ptr<Step> make_not(const Node&, const Placement& at) { return made(at, run_one<Not, uint8_t, uint8_t>); }

std::unique_ptr<Step> make_where(const Node& node, const Placement& at) {
    return made(at, with_bytes(node.y_type(), [](auto y) -> TypedRun { return choose<typename decltype(y)::Number>; }));
}

std::unique_ptr<Step> make_cast(const Node& node, const Placement& at) {
    const auto run = with_type(node.x_type(), [&](auto x) {
        using X = typename decltype(x)::Number;
        if (node.y_type() == Number::boolean) return TypedRun{run_one<IsTrue, uint8_t, X>};
        return with_type(node.y_type(), [](auto y) -> TypedRun {
            return run_one<Converted, typename decltype(y)::Number, X>;
        });
    });
    return made(at, run);
}

OperatorType row(const char* name, Inputs inputs, void (*check)(const Node&),
                 std::unique_ptr<Step> (*make)(const Node&, const Placement&)) {
    return {name, inputs, Has::no, Has::no, {}, Takes::any, Lies::as_it_comes, Aliasing::in_place, check,
            work_of_reading, no_layout, make};
}

}  // namespace

const std::vector<OperatorType>& typed_operators() {
    static const std::vector<OperatorType> types = {
        row("equal", 2, check_comparison, make_comparison<Equal>),
        row("not_equal", 2, check_comparison, make_comparison<NotEqual>),
        row("less", 2, check_comparison, make_comparison<Less>),
        row("less_equal", 2, check_comparison, make_comparison<LessEqual>),
        row("greater", 2, check_comparison, make_comparison<Greater>),
        row("greater_equal", 2, check_comparison, make_comparison<GreaterEqual>),
        row("logical_and", 2, check_logic, make_logic<And>),
        row("logical_or", 2, check_logic, make_logic<Or>),
        row("logical_xor", 2, check_logic, make_logic<Xor>),
        row("logical_not", 1, check_logic, make_not),
        row("where", 3, check_where, make_where),
        row("cast", 1, check_cast, make_cast),
    };
    return types;
}

}  // namespace sparbor
