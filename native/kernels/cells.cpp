// The gates of recurrent cells, and the states that they make, as plain loops; compiled once for each kernel set. Each is
// given what the gates get from the step's input and from the state before, gate by gate.
#include "functions.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// Input, forget, candidate and output; the state is the output's numbers, and behind them the cell's.
void lstm(const float* __restrict x, const float* __restrict recurrent, const float*, const float* __restrict cell,
          float* y, size_t n) {
    float *__restrict output = y, *__restrict next = y + n;
    for (size_t i = 0; i < n; i++) {
        const float input = logistic(x[i] + recurrent[i]), forget = logistic(x[n + i] + recurrent[n + i]);
        const float candidate = hyperbolic_tangent(x[2 * n + i] + recurrent[2 * n + i]);
        const float state = forget * cell[i] + input * candidate;
        next[i] = state;
        output[i] = logistic(x[3 * n + i] + recurrent[3 * n + i]) * hyperbolic_tangent(state);
    }
}

// Reset, update and candidate.
void gru(const float* __restrict x, const float* __restrict recurrent, const float* __restrict before, const float*,
         float* __restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float reset = logistic(x[i] + recurrent[i]), update = logistic(x[n + i] + recurrent[n + i]);
        const float candidate = hyperbolic_tangent(x[2 * n + i] + reset * recurrent[2 * n + i]);
        y[i] = candidate + update * (before[i] - candidate);
    }
}

void elman(const float* __restrict x, const float* __restrict recurrent, const float*, const float*,
           float* __restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = hyperbolic_tangent(x[i] + recurrent[i]);
}

void elman_relu(const float* __restrict x, const float* __restrict recurrent, const float*, const float*,
                float* __restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = at_least(x[i] + recurrent[i], 0.0f);
}

}  // namespace

const Cells cells{lstm, gru, elman, elman_relu};

}  // namespace sparbor::SPARBOR_KERNELS
