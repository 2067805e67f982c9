// Two values to one, number by number. A dimension of 1 is as if repeated, as NumPy and PyTorch have it.
#pragma once

#include <limits>
#include <vector>

#include "ops/outputs.h"

namespace sparbor {

// Refuses a node whose inputs' shapes, which have as many dimensions as the output's, do not broadcast to that.
void check_broadcast(const Node& node);

// Where the numbers of an operand lie that a row of the output is computed with.
struct Operand {
    Value value;
    size_t rows;                  // 1 if one row serves all of an item's
    bool one;                     // each run of the output meets one number, not as many as it has
    std::vector<size_t> offsets;  // within a row, by run of the output
};

// The rows of the output, each in runs of numbers that both operands give one after another or as one.
struct Runs {
    size_t length;
    Operand left, right;
};

Runs runs_of(const Node& node, const Placement& at);

// Many numbers and one: with_one(kernels, x, number, y, count).
using WithOne = void (*)(const Elementwise&, const float* x, float number, float* y, size_t count);

// `kernel` computes runs in which both operands have as many numbers; `with_one` those in which one of them
// has a single one, so the operator has to be commutative.
class BroadcastStep final : public Step {
public:
    BroadcastStep(Value y, Runs runs, PairKernel kernel, WithOne with_one, Ending ending, Activation relu)
        : y_(y), runs_(std::move(runs)), kernel_(kernel), with_one_(with_one), ending_(ending), relu_(relu) {}

    void run(const Call& call) const override {
        const size_t stride = row_stride(y_.features);
        split_rows(call, y_, [&](size_t first, size_t last, size_t) {
            for (size_t row = first; row < last; row++) run_row(call, row, call.data(y_) + row * stride);
        });
    }

private:
    static constexpr float unbounded = -std::numeric_limits<float>::infinity();

    const float* row_of(const Call& call, const Operand& operand, size_t row) const {
        const size_t item = row / y_.rows, within = operand.rows == 1 ? 0 : row % y_.rows;
        return call.data(operand.value, item) + within * row_stride(operand.value.features);
    }

    void run_row(const Call& call, size_t row, float* y) const {
        const float *left = row_of(call, runs_.left, row), *right = row_of(call, runs_.right, row);
        const Elementwise& kernels = *call.kernels.elementwise;
        for (size_t i = 0; i < runs_.left.offsets.size(); i++) {
            const float *a = left + runs_.left.offsets[i], *b = right + runs_.right.offsets[i];
            float* const run = y + i * runs_.length;
            if (runs_.right.one) with_one_(kernels, a, *b, run, runs_.length);
            else if (runs_.left.one) with_one_(kernels, b, *a, run, runs_.length);
            else kernel_(a, b, run, runs_.length, unbounded);
        }
        if (ending_.clamp_min > unbounded) relu_.map(y, y_.features, relu_.a, relu_.b);
        if (ending_.activation) ending_.activation->map(y, y_.features, ending_.activation->a, ending_.activation->b);
    }

    Value y_;
    Runs runs_;
    PairKernel kernel_;
    WithOne with_one_;
    Ending ending_;
    Activation relu_;
};

}  // namespace sparbor
