// What is computed of whole rows: norms and softmax, as plain loops; compiled like elementwise.cpp, once for each kernel
// set.
#include "functions.h"
#include "inlining.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t sums = 32;  // partial ones, because a compiler may not reorder one

// The sum of what `of` makes of each number and its place.
template <class Of>
inline float sum_of(size_t n, const Of& of) {
    float parts[sums] = {};
    size_t i = 0;
    for (; i + sums <= n; i += sums)
        for (size_t lane = 0; lane < sums; lane++) parts[lane] += of(i + lane);
    for (size_t lane = 0; i < n; i++, lane++) parts[lane] += of(i);
    UNROLL for (size_t half = sums / 2; half > 0; half /= 2)
        UNROLL for (size_t lane = 0; lane < half; lane++) parts[lane] += parts[lane + half];
    return parts[0];
}

float sum(const float* x, size_t n) {
    return sum_of(n, [x](size_t i) { return x[i]; });
}

float squares(const float* x, float mean, size_t n) {
    return sum_of(n, [x, mean](size_t i) { return (x[i] - mean) * (x[i] - mean); });
}

// (x - mean) · by, scaled and shifted.
inline void normalise(const float* x, float mean, float by, const float* scale, const float* shift, float* y,
                      size_t n) {
    if (scale && shift) {
        for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean) * by * scale[i] + shift[i];
        return;
    }
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean) * by;
    if (scale) for (size_t i = 0; i < n; i++) y[i] *= scale[i];
    if (shift) for (size_t i = 0; i < n; i++) y[i] += shift[i];
}

void layer_norm(const float* x, const float* scale, const float* shift, float epsilon, float* y, size_t n) {
    const float mean = sum(x, n) / static_cast<float>(n), variance = squares(x, mean, n) / static_cast<float>(n);
    normalise(x, mean, 1.0f / __builtin_sqrtf(variance + epsilon), scale, shift, y, n);
}

void rms_norm(const float* x, const float* scale, const float* shift, float epsilon, float* y, size_t n) {
    normalise(x, 0, 1.0f / __builtin_sqrtf(squares(x, 0, n) / static_cast<float>(n) + epsilon), scale, shift, y, n);
}

float largest(const float* x, size_t n) {
    float parts[sums];
    for (float& part : parts) part = -infinity;
    size_t i = 0;
    for (; i + sums <= n; i += sums)
        for (size_t lane = 0; lane < sums; lane++) parts[lane] = x[i + lane] > parts[lane] ? x[i + lane] : parts[lane];
    for (size_t lane = 0; i < n; i++, lane++) parts[lane] = x[i] > parts[lane] ? x[i] : parts[lane];
    UNROLL for (size_t half = sums / 2; half > 0; half /= 2)
        UNROLL for (size_t lane = 0; lane < half; lane++)
            parts[lane] = parts[lane + half] > parts[lane] ? parts[lane + half] : parts[lane];
    return parts[0];
}

void softmax(const float* x, float* y, size_t n) {
    const float top = largest(x, n);
    for (size_t i = 0; i < n; i++) y[i] = exponential(x[i] - top);
    const float by = 1.0f / sum(y, n);
    for (size_t i = 0; i < n; i++) y[i] *= by;
}

void log_softmax(const float* x, float* y, size_t n) {
    const float top = largest(x, n);
    const float below = logarithm(sum_of(n, [x, top](size_t i) { return exponential(x[i] - top); }));
    for (size_t i = 0; i < n; i++) y[i] = x[i] - top - below;
}

}  // namespace

const Norms norms{sum, squares, layer_norm, rms_norm, softmax, log_softmax};

}  // namespace sparbor::SPARBOR_KERNELS
