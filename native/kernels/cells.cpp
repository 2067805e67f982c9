// The gates of recurrent cells, and the states that they make; compiled once for each kernel set. Each function has a loop
// of its own, of which compilers make better vectors than of one loop with all of them.
#include "functions.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

void add_and_squash(const float* __restrict x, float* __restrict gates, size_t n) {
    for (size_t i = 0; i < n; i++) gates[i] = logistic(x[i] + gates[i]);
}

// Input, forget, candidate and output; the state is the output's numbers, and behind them the cell's.
void lstm(const float* __restrict x, float* __restrict gates, const float*, const float* __restrict cell, float* y,
          size_t n) {
    const float *input = gates, *forget = gates + n, *output = gates + 3 * n;
    float *__restrict candidate = gates + 2 * n, *__restrict shown = y, *__restrict state = y + n;
    add_and_squash(x, gates, 2 * n);
    add_and_squash(x + 3 * n, gates + 3 * n, n);
    for (size_t i = 0; i < n; i++) candidate[i] = hyperbolic_tangent(x[2 * n + i] + candidate[i]);
    for (size_t i = 0; i < n; i++) state[i] = forget[i] * cell[i] + input[i] * candidate[i];
    for (size_t i = 0; i < n; i++) shown[i] = output[i] * hyperbolic_tangent(state[i]);
}

// Reset, update and candidate.
void gru(const float* __restrict x, float* __restrict gates, const float* __restrict before, const float*,
         float* __restrict y, size_t n) {
    const float *reset = gates, *update = gates + n, *recurrent = gates + 2 * n;
    add_and_squash(x, gates, 2 * n);
    for (size_t i = 0; i < n; i++) y[i] = hyperbolic_tangent(x[2 * n + i] + reset[i] * recurrent[i]);
    for (size_t i = 0; i < n; i++) y[i] += update[i] * (before[i] - y[i]);
}

void elman(const float* __restrict x, float* __restrict gates, const float*, const float*, float* __restrict y,
           size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = hyperbolic_tangent(x[i] + gates[i]);
}

void elman_relu(const float* __restrict x, float* __restrict gates, const float*, const float*, float* __restrict y,
                size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = at_least(x[i] + gates[i], 0.0f);
}

}  // namespace

const Cells cells{lstm, gru, elman, elman_relu};

}  // namespace sparbor::SPARBOR_KERNELS
