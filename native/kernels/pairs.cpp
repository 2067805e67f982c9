// Operators of two rows of numbers, as plain loops; compiled like elementwise.cpp, once for each kernel set.
#include "functions.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

template <class Operator>
void both(const float* left, const float* right, float* y, size_t n, float clamp_min) {
    for (size_t i = 0; i < n; i++) y[i] = at_least(Operator::of(left[i], right[i]), clamp_min);
}

template <class Operator>
void left_is_one(const float* left, const float* right, float* y, size_t n, float clamp_min) {
    const float one = *left;
    for (size_t i = 0; i < n; i++) y[i] = at_least(Operator::of(one, right[i]), clamp_min);
}

template <class Operator>
void right_is_one(const float* left, const float* right, float* y, size_t n, float clamp_min) {
    const float one = *right;
    for (size_t i = 0; i < n; i++) y[i] = at_least(Operator::of(left[i], one), clamp_min);
}

struct Add { static float of(float left, float right) { return left + right; } };
struct Multiply { static float of(float left, float right) { return left * right; } };
struct Subtract { static float of(float left, float right) { return left - right; } };
struct Divide { static float of(float left, float right) { return left / right; } };

// NaN if either is.
struct Minimum { static float of(float left, float right) { return left < right || left != left ? left : right; } };
struct Maximum { static float of(float left, float right) { return left > right || left != left ? left : right; } };
struct Power { static float of(float left, float right) { return __builtin_powf(left, right); } };

// As Python's: of the divisor's sign, and exact, as a rounded quotient is not.
struct Remainder {
    static float of(float left, float right) {
        const float rest = __builtin_fmodf(left, right);
        if (rest == 0) return __builtin_copysignf(0.0f, right);
        return (rest < 0) != (right < 0) ? rest + right : rest;
    }
};

// Towards minus infinity: what is left without the remainder is divided, and rounded because that is not exact.
struct FloorDivide {
    static float of(float left, float right) {
        if (right == 0) return left / right;
        const float rest = __builtin_fmodf(left, right);
        const float quotient = (left - rest) / right - (rest != 0 && (rest < 0) != (right < 0) ? 1.0f : 0.0f);
        if (quotient == 0) return __builtin_copysignf(0.0f, left / right);
        const float whole = __builtin_floorf(quotient);
        return quotient - whole > 0.5f ? whole + 1.0f : whole;
    }
};

template <class Operator>
constexpr NamedPair named(const char* name) {
    return {name, both<Operator>, left_is_one<Operator>, right_is_one<Operator>};
}

}  // namespace

const NamedPair pairs[] = {
    named<Add>("add"),
    named<Multiply>("multiply"),
    named<Subtract>("subtract"),
    named<Divide>("divide"),
    named<FloorDivide>("floor_divide"),
    named<Remainder>("remainder"),
    named<Power>("power"),
    named<Minimum>("minimum"),
    named<Maximum>("maximum"),
    {},
};

}  // namespace sparbor::SPARBOR_KERNELS
