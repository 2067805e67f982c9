// Activations as plain loops; the build compiles this file once for each kernel set, with that set's flags and in its
// namespace, and leaves the vector instructions to the compiler.
#include "functions.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

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
    for (size_t i = 0; i < n; i++) x[i] *= 0.5f + normal_share_from_zero(x[i]);
}
void gelu_tanh(float* x, size_t n, float, float) {
    for (size_t i = 0; i < n; i++) {
        const float v = x[i];
        x[i] = 0.5f * v * (1.0f + hyperbolic_tangent(0.797884561f * (v + 0.044715f * v * v * v)));
    }
}
void silu(float* x, size_t n, float, float) {
    for (size_t i = 0; i < n; i++) {
        const float v = x[i];
        x[i] = v / (1.0f + short_exponential(-v));
    }
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

template <float (*function)(float)>
void map(float* x, size_t n, float, float) {
    for (size_t i = 0; i < n; i++) x[i] = function(x[i]);
}

// The exponents that models have need no logarithm.
void power(float* x, size_t n, float exponent, float) {
    if (exponent == 2) return map<square>(x, n, 0, 0);
    if (exponent == 3) return map<cube>(x, n, 0, 0);
    if (exponent == 1) return;
    if (exponent == -1) return map<reciprocal>(x, n, 0, 0);
    for (size_t i = 0; i < n; i++) x[i] = __builtin_powf(x[i], exponent);
}

void scale_shift(const float* x, const float* scale, const float* shift, float* y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * scale[i] + shift[i];
}

void scale_shift_all(const float* x, float scale, float shift, float* y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * scale + shift;
}

void from_bytes(const uint8_t* x, float scale, float shift, float* y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = static_cast<float>(x[i]) * scale + shift;
}

// A half's bits shifted into a float's are the same number 2^-112 times as large; exponent 31 never occurs.
void from_halves(const uint16_t* x, float scale, float* y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t half = x[i];
        y[i] = bits_to_float((half & 0x8000u) << 16 | (half & 0x7fffu) << 13) * 0x1p112f * scale;
    }
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
    {"exp", 0, map<exact_exponential>},
    {"log", 0, map<logarithm>},
    {"log1p", 0, map<logarithm_of_one_plus>},
    {"sqrt", 0, map<square_root>},
    {"rsqrt", 0, map<reciprocal_square_root>},
    {"reciprocal", 0, map<reciprocal>},
    {"abs", 0, map<magnitude>},
    {"negative", 0, map<negative>},
    {"sin", 0, map<sine>},
    {"cos", 0, map<cosine>},
    {"erf", 0, map<exact_error_function>},
    {"floor", 0, map<rounded_down>},
    {"ceil", 0, map<rounded_up>},
    {"round", 0, map<rounded>},
    {"sign", 0, map<sign>},
    {"softsign", 0, map<softsign>},
    {"mish", 0, map<mish>},
    {"log_sigmoid", 0, map<log_sigmoid>},
    {"power", 1, power},
    {nullptr, 0, nullptr},
};

}  // namespace

const Elementwise elementwise{maps, scale_shift, scale_shift_all, from_bytes, from_halves};

}  // namespace sparbor::SPARBOR_KERNELS
