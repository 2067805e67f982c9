// Element-wise functions as plain loops; the build compiles this file once for each kernel set, with that set's flags
// and in its namespace, and leaves the vector instructions to the compiler. NaN goes in, NaN comes out.
#include <cstring>

#include "kernels.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr float infinity = __builtin_inff();

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

// e^x = 2^n e^r with |r| ≤ ln2 / 2. Adding 1.5 · 2^23 rounds x / ln2 to the integer n and leaves it in the low bits.
inline float exponential(float x) {
    const float clamped = at_most(at_least(x, -87.0f), 88.0f);
    const float shifted = clamped * 1.44269504f + 12582912.0f;
    const float n = shifted - 12582912.0f;
    const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    const float e = p * r * r + r + 1.0f;
    return e * bits_to_float((float_to_bits(shifted) + 127u) << 23);
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

void clamp(float* x, size_t n, float low, float high) {
    for (size_t i = 0; i < n; i++) x[i] = at_most(at_least(x[i], low), high);
}
void leaky_relu(float* x, size_t n, float slope, float) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] < 0 ? x[i] * slope : x[i];
}
void elu(float* x, size_t n, float alpha, float scale) {
    for (size_t i = 0; i < n; i++) {
        // e^x - 1 by tanh: 2t / (1 - t) with t = tanh(x / 2) keeps its digits near 0.
        const float t = hyperbolic_tangent(0.5f * at_most(x[i], 0.0f));
        x[i] = scale * (x[i] < 0 ? alpha * (2.0f * t / (1.0f - t)) : x[i]);
    }
}
void gelu(float* x, size_t n, float, float) {
    for (size_t i = 0; i < n; i++) x[i] = 0.5f * x[i] * (1.0f + error_function(x[i] * 0.707106781f));
}
void gelu_tanh(float* x, size_t n, float, float) {
    for (size_t i = 0; i < n; i++) {
        const float v = x[i];
        x[i] = 0.5f * v * (1.0f + hyperbolic_tangent(0.797884561f * (v + 0.044715f * v * v * v)));
    }
}
void silu(float* x, size_t n, float, float) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] * logistic(x[i]);
}
void sigmoid(float* x, size_t n, float, float) {
    for (size_t i = 0; i < n; i++) x[i] = logistic(x[i]);
}
void tanh(float* x, size_t n, float, float) {
    for (size_t i = 0; i < n; i++) x[i] = hyperbolic_tangent(x[i]);
}
void hardswish(float* x, size_t n, float, float) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] * at_most(at_least(x[i] + 3.0f, 0.0f), 6.0f) * (1.0f / 6.0f);
}
void hardsigmoid(float* x, size_t n, float, float) {
    for (size_t i = 0; i < n; i++) x[i] = at_most(at_least(x[i] + 3.0f, 0.0f), 6.0f) * (1.0f / 6.0f);
}
void softplus(float* x, size_t n, float beta, float threshold) {
    for (size_t i = 0; i < n; i++) {
        const float v = x[i] * beta;
        const float smooth = at_least(v, 0.0f) + log_one_plus(exponential(-magnitude(v)));
        x[i] = v > threshold ? x[i] : smooth / beta;
    }
}

template <class Operator>
void pair(const float* left, const float* right, float* y, size_t n, float clamp_min) {
    for (size_t i = 0; i < n; i++) y[i] = at_least(Operator::of(left[i], right[i]), clamp_min);
}

struct Add { static float of(float left, float right) { return left + right; } };
struct Multiply { static float of(float left, float right) { return left * right; } };

void scale_shift(const float* x, const float* scale, const float* shift, float* y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * scale[i] + shift[i];
}

void scale_shift_all(const float* x, float scale, float shift, float* y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * scale + shift;
}

void from_bytes(const uint8_t* x, float scale, float shift, float* y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = static_cast<float>(x[i]) * scale + shift;
}

// The sum of what `of` makes of each number: sixteen partial sums, because a compiler may not reorder one.
template <class Of>
inline float sum_of(const float* x, size_t n, const Of& of) {
    float sums[16] = {};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t lane = 0; lane < 16; lane++) sums[lane] += of(x[i + lane]);
    for (; i < n; i++) sums[0] += of(x[i]);
    float sum = 0;
    for (float part : sums) sum += part;
    return sum;
}

void layer_norm(const float* x, const float* scale, const float* shift, float epsilon, float* y, size_t n) {
    const float mean = sum_of(x, n, [](float value) { return value; }) / static_cast<float>(n);
    const float squares = sum_of(x, n, [mean](float value) { return (value - mean) * (value - mean); });
    const float by = 1.0f / __builtin_sqrtf(squares / static_cast<float>(n) + epsilon);
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean) * by;
    if (scale) for (size_t i = 0; i < n; i++) y[i] *= scale[i];
    if (shift) for (size_t i = 0; i < n; i++) y[i] += shift[i];
}

void softmax(float* row, size_t n) {
    float top = -infinity;
    for (size_t i = 0; i < n; i++) top = row[i] > top ? row[i] : top;
    // Sixteen partial sums, because a compiler may not reorder one.
    float sums[16] = {};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t lane = 0; lane < 16; lane++) {
            row[i + lane] = exponential(row[i + lane] - top);
            sums[lane] += row[i + lane];
        }
    for (; i < n; i++) {
        row[i] = exponential(row[i] - top);
        sums[0] += row[i];
    }
    float sum = 0;
    for (float part : sums) sum += part;
    for (size_t k = 0; k < n; k++) row[k] /= sum;
}

// The activations of a program, apart from relu: names, and how many parameters each has.
const NamedMap maps[] = {
    {"clamp", 2, clamp},
    {"leaky_relu", 1, leaky_relu},
    {"elu", 2, elu},
    {"gelu", 0, gelu},
    {"gelu_tanh", 0, gelu_tanh},
    {"silu", 0, silu},
    {"sigmoid", 0, sigmoid},
    {"tanh", 0, tanh},
    {"hardswish", 0, hardswish},
    {"hardsigmoid", 0, hardsigmoid},
    {"softplus", 2, softplus},
    {nullptr, 0, nullptr},
};

const NamedPair pairs[] = {
    {"add", pair<Add>},
    {"multiply", pair<Multiply>},
    {nullptr, nullptr},
};

}  // namespace

const Elementwise elementwise{maps, pairs, scale_shift, scale_shift_all, from_bytes, softmax, layer_norm};

}  // namespace sparbor::SPARBOR_KERNELS
