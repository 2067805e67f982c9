// Planes that become larger or smaller, row by row, as plain loops; compiled like elementwise.cpp, once for each kernel
// set.
#include "kernels.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

void mix(const float* const* rows, const float* weights, size_t taps, float* y, size_t n) {
    if (taps == 2) {
        const float *first = rows[0], *second = rows[1], a = weights[0], b = weights[1];
        for (size_t i = 0; i < n; i++) y[i] = first[i] * a + second[i] * b;
        return;
    }
    for (size_t i = 0; i < n; i++) y[i] = rows[0][i] * weights[0];
    for (size_t tap = 1; tap < taps; tap++)
        for (size_t i = 0; i < n; i++) y[i] += rows[tap][i] * weights[tap];
}

void pick(const float* x, const int32_t* from, const float* weights, size_t taps, float* y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[from[i]] * weights[i];
    for (size_t tap = 1; tap < taps; tap++)
        for (size_t i = tap * n, k = 0; k < n; i++, k++) y[k] += x[from[i]] * weights[i];
}

}  // namespace

const Resizing resizing{mix, pick};

}  // namespace sparbor::SPARBOR_KERNELS
