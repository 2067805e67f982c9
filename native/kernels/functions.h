// Functions of one number that compilers make vectors of. Without linkage, as everything that files of different flags
// share must be. NaN goes in, NaN comes out.
#pragma once

#include <cstring>

#include "kernels.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr float infinity = __builtin_inff(), not_a_number = __builtin_nanf("");

inline float bits_to_float(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline uint32_t float_to_bits(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float at_least(float x, float low) { return x < low ? low : x; }
inline float at_most(float x, float high) { return x > high ? high : x; }
inline float magnitude(float x) { return bits_to_float(float_to_bits(x) & 0x7fffffffu); }
inline float with_sign_of(float x, float sign) {
    return bits_to_float(float_to_bits(x) | (float_to_bits(sign) & 0x80000000u));
}

// e^r for |r| ≤ ln2 / 2.
inline float exponential_near_zero(float r) {
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * r * r + r + 1.0f;
}

// e^x = 2^n e^r with |r| ≤ ln2 / 2. Adding 1.5 · 2^23 rounds x / ln2 to the integer n and leaves it in the low bits.
inline float exponential(float x) {
    const float clamped = at_most(at_least(x, -87.0f), 88.0f);
    const float shifted = clamped * 1.44269504f + 12582912.0f;
    const float n = shifted - 12582912.0f;
    const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
    return exponential_near_zero(r) * bits_to_float((float_to_bits(shifted) + 127u) << 23);
}

// The same by a shorter polynomial and with one remainder, right to 4e-7: enough for what is added to 1.
inline float short_exponential(float x) {
    const float clamped = at_most(at_least(x, -87.0f), 88.0f);
    const float shifted = clamped * 1.44269504f + 12582912.0f;
    const float r = clamped - (shifted - 12582912.0f) * 0.693147182f;
    float p = 8.31252e-3f;
    p = p * r + 4.189012e-2f;
    p = p * r + 1.6667115e-1f;
    p = p * r + 4.9999232e-1f;
    return (p * r * r + r + 1.0f) * bits_to_float((float_to_bits(shifted) + 127u) << 23);
}

inline float logistic(float x) { return 1.0f / (1.0f + exponential(-x)); }

// tanh by its series near 0, where 1 - 2 / (e^2x + 1) would lose digits.
inline float hyperbolic_tangent(float x) {
    const float a = magnitude(x), s = x * x;
    float p = -5.70498872745e-3f;
    p = p * s + 2.06390887954e-2f;
    p = p * s - 5.37397155531e-2f;
    p = p * s + 1.33314422036e-1f;
    p = p * s - 3.33332819422e-1f;
    const float small = x + x * s * p;
    const float large = with_sign_of(1.0f - 2.0f / (exponential(2.0f * a) + 1.0f), x);
    return a < 0.625f ? small : large;
}

// The same with infinity and numbers below the smallest normal one: 2^n in two factors.
inline float exact_exponential(float x) {
    const float clamped = at_most(at_least(x, -104.0f), 89.0f);
    const float shifted = clamped * 1.44269504f + 12582912.0f;
    const float n = shifted - 12582912.0f;
    const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
    const auto whole = static_cast<int32_t>(float_to_bits(shifted) - 0x4b400000u);
    const int32_t half = whole >> 1;
    const auto power_of_two = [](int32_t exponent) {
        return bits_to_float(static_cast<uint32_t>(exponent + 127) << 23);
    };
    return exponential_near_zero(r) * power_of_two(half) * power_of_two(whole - half);
}

// x = 2^e m with m from 1/√2 to √2, and log m by a polynomial.
inline float logarithm(float x) {
    const bool tiny = x < 1.17549435e-38f;
    const uint32_t bits = float_to_bits(tiny ? x * 8388608.0f : x);
    const int32_t exponent = static_cast<int32_t>(bits - 0x3f3504f3u) >> 23;
    const float m = bits_to_float(bits - (static_cast<uint32_t>(exponent) << 23)) - 1.0f;
    const float e = static_cast<float>(exponent) - (tiny ? 23.0f : 0.0f), s = m * m;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    const float small = m * s * p - e * 2.12194440e-4f - 0.5f * s;
    const float result = e * 0.693359375f + (m + small);
    const float special = x == 0 ? -infinity : x == infinity ? x : not_a_number;
    return x > 0 && x < infinity ? result : special;
}

// log(1 + x): what rounding 1 + x loses is put back.
inline float logarithm_of_one_plus(float x) {
    const float u = 1.0f + x;
    const float result = logarithm(u) + (x - (u - 1.0f)) / u;
    return u > 0 && u < infinity ? result : logarithm(u);
}

inline float square(float x) { return x * x; }
inline float cube(float x) { return x * x * x; }
inline float square_root(float x) { return __builtin_sqrtf(x); }
inline float reciprocal_square_root(float x) { return 1.0f / __builtin_sqrtf(x); }
inline float reciprocal(float x) { return 1.0f / x; }
inline float negative(float x) { return -x; }
// The arguments of rotary embeddings go up to the length of a text: the C library reduces them exactly.
inline float sine(float x) { return __builtin_sinf(x); }
inline float cosine(float x) { return __builtin_cosf(x); }
inline float rounded_down(float x) { return __builtin_floorf(x); }
inline float rounded_up(float x) { return __builtin_ceilf(x); }
inline float rounded(float x) { return __builtin_rintf(x); }  // half to even, as the processor rounds
inline float sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x; }
inline float softsign(float x) { return x / (1.0f + magnitude(x)); }

// Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7.
inline float error_function(float x) {
    const float a = magnitude(x);
    const float t = 1.0f / (1.0f + 0.3275911f * a);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    return with_sign_of(1.0f - p * t * exponential(-a * a), x);
}

// The same with a small relative error near 0 as well, by a polynomial in x².
inline float exact_error_function(float x) {
    const float s = x * x;
    float p = 7.882497111e-5f;
    p = p * s - 8.018854992e-4f;
    p = p * s + 5.189311943e-3f;
    p = p * s - 2.685432880e-2f;
    p = p * s + 1.128359746e-1f;
    p = p * s - 3.761262690e-1f;
    p = p * s + 1.128379166f;
    return s < 1 ? x * p : error_function(x);
}

// The share of a normal distribution between 0 and x, negative for negative ones: a quotient of polynomials in x², fitted
// to be right to 8e-9. Beyond 5.5 it is one half, exactly, so that large negative numbers leave nothing.
inline float normal_share_from_zero(float x) {
    const float v = at_most(at_least(x, -5.5f), 5.5f), s = v * v;
    float p = 2.274932187e-8f;
    p = p * s + 6.352131304e-6f;
    p = p * s + 1.688271170e-4f;
    p = p * s + 4.677269926e-3f;
    p = p * s + 3.385278702e-2f;
    p = p * s + 3.989422825e-1f;
    float q = 1.197503511e-6f;
    q = q * s + 7.364797290e-5f;
    q = q * s + 1.884452896e-3f;
    q = q * s + 2.864595058e-2f;
    q = q * s + 2.515222613e-1f;
    q = q * s + 1.0f;
    return at_most(at_least(v * p / q, -0.5f), 0.5f);
}

// log(1 + e) for 0 ≤ e ≤ 1, by atanh's series: log(u) = 2 atanh((u - 1) / (u + 1)), and (u - 1) / (u + 1) ≤ 1/3.
inline float log_one_plus(float e) {
    const float z = e / (2.0f + e), s = z * z;
    float p = 1.0f / 13.0f;
    p = p * s + 1.0f / 11.0f;
    p = p * s + 1.0f / 9.0f;
    p = p * s + 1.0f / 7.0f;
    p = p * s + 1.0f / 5.0f;
    p = p * s + 1.0f / 3.0f;
    return 2.0f * z * (1.0f + s * p);
}


// log(1 / (1 + e^-x)).
inline float log_sigmoid(float x) { return at_most(x, 0.0f) - log_one_plus(exponential(-magnitude(x))); }

// x tanh(log(1 + e^x)), which is x (e² + 2e) / (e² + 2e + 2) with e = e^x; x itself where that is 1.
inline float mish(float x) {
    const float e = exponential(at_most(x, 20.0f)), both = e * (e + 2.0f);
    return x > 20.0f ? x : x * (both / (both + 2.0f));
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
