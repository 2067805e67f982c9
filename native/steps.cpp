#include "steps.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace sparbor {
namespace {

// From so many rows on, columns that stay empty cost less than rows one by one.
constexpr size_t worth_columns = 6;

size_t groups_of(size_t neurons) { return (neurons + group_size - 1) / group_size; }

std::vector<float> whole_groups(const float* values, size_t count, float filler) {
    std::vector<float> padded(groups_of(count) * group_size, filler);
    if (values) std::copy(values, values + count, padded.begin());
    return padded;
}

// Whether the first `lanes` words of each slot are normal halves.
bool all_normal(const uint16_t* words, size_t slots, size_t lanes) {
    constexpr uint16_t exponent = 0x7C00;
    for (size_t slot = 0; slot < slots; slot++, words += group_size) {
        bool normal = true;
        for (size_t lane = 0; lane < lanes; lane++) normal &= (words[lane] & exponent) != 0;
        if (!normal) return false;
    }
    return true;
}

float floor_of(bool relu) { return relu ? 0.0f : -std::numeric_limits<float>::infinity(); }

Rows rows_of(const Call& call, const Value& x, const Value& y) {
    return {call.data(x), row_stride(x.features), call.data(y), row_stride(y.features), call.rows(x)};
}

void apply(const Activation& activation, float* rows, size_t stride, size_t count, size_t features) {
    for (size_t row = 0; row < count; row++) activation.map(rows + row * stride, features, activation.a, activation.b);
}

// Runs kernel(first group, last group), split over the threads, and the activation over what has just been written.
template <class Kernel>
void run_linear(const Call& call, const Rows& rows, size_t groups, double work, const Kernel& kernel,
                const std::optional<Activation>& activation) {
    call.split(groups, work, [&](size_t first, size_t last) {
        kernel(first, last);
        if (activation)
            apply(*activation, rows.y + first * group_size, rows.y_stride, rows.count, (last - first) * group_size);
    });
}

// Runs part(row, last row) over the rows of an element-wise step.
template <class Part>
void run_rows(const Call& call, const Value& value, const Part& part) {
    const size_t rows = call.rows(value);
    call.split(rows, 0.2 * rows * value.features, part);
}

}  // namespace

SparseLinear::SparseLinear(Value x, Value y, const SparseArrays& arrays, bool relu,
                           std::optional<Activation> activation)
    : x_(x), y_(y), scale_(whole_groups(arrays.scale, y.features, 1.0f)),
      bias_(whole_groups(arrays.bias, y.features, 0.0f)), activation_(activation) {
    Group at{};
    for (const uint32_t runs : arrays.runs_per_group) {
        at.runs = runs;
        groups_.push_back(at);
        for (uint32_t i = 0; i < runs; i++) {
            const Run run{arrays.run_slots[at.run + i], arrays.run_branches[at.run + i]};
            runs_.push_back(run);
            at.slot += size_t{run.slots} * run.branches;
            at.branch += run.branches;
        }
        at.run += runs;
        if (arrays.words) {
            Group& group = groups_.back();
            const size_t neurons = std::min(group_size, y.features - (groups_.size() - 1) * group_size);
            group.normal = all_normal(arrays.words + group.slot * group_size, at.slot - group.slot, neurons);
        }
    }
    layer_ = {groups_.data(), runs_.data(), arrays.branches, arrays.words,      arrays.weights, arrays.indices,
              scale_.data(),  bias_.data(), floor_of(relu),  arrays.padded};
    work_ = 0.6 * static_cast<double>(at.slot);
}

size_t SparseLinear::scratch_floats(const KernelSet& kernels) const {
    return kernels.columns ? (x_.features + 1) * column_tile : 0;
}

void SparseLinear::run(const Call& call) const {
    const Rows rows = rows_of(call, x_, y_);
    if (call.kernels.columns && rows.count >= worth_columns) return run_columns(call, rows);
    run_linear(
        call, rows, groups_.size(), work_ * rows.count,
        [&](size_t first, size_t last) { call.kernels.sparse(layer_, rows, first, last); }, activation_);
}

void SparseLinear::run_columns(const Call& call, Rows rows) const {
    const Columns& columns = *call.kernels.columns;
    for (size_t left = rows.count; left > 0; left -= rows.count) {
        rows.count = std::min(left, column_tile);
        columns.to_panel(rows, x_.features, call.scratch);
        run_linear(
            call, rows, groups_.size(), work_ * column_tile,
            [&](size_t first, size_t last) {
                columns.sparse(layer_, call.scratch, x_.features, rows, first, last);
            },
            activation_);
        rows.x += rows.count * rows.x_stride;
        rows.y += rows.count * rows.y_stride;
    }
}

DenseLinear::DenseLinear(Value x, Value y, const float* panels, const uint16_t* halves, const float* scale,
                         const float* bias, bool relu, std::optional<Activation> activation)
    : x_(x), y_(y), scale_(whole_groups(scale, y.features, 1.0f)), bias_(whole_groups(bias, y.features, 0.0f)),
      activation_(activation) {
    layer_ = {panels, halves, scale_.data(), bias_.data(), x.features, floor_of(relu)};
    work_ = 0.5 * static_cast<double>(groups_of(y.features) * x.features);
}

void DenseLinear::run(const Call& call) const {
    const Rows rows = rows_of(call, x_, y_);
    run_linear(
        call, rows, groups_of(y_.features), work_ * rows.count,
        [&](size_t first, size_t last) { call.kernels.dense(layer_, rows, first, last); }, activation_);
}

void Apply::run(const Call& call) const {
    const size_t stride = row_stride(x_.features);
    run_rows(call, x_, [&](size_t first, size_t last) {
        const float* x = call.data(x_) + first * stride;
        float* y = call.data(y_) + first * stride;
        if (x != y) std::memcpy(y, x, (last - first) * stride * sizeof(float));
        apply(activation_, y, stride, last - first, x_.features);
    });
}

void Add::run(const Call& call) const {
    const size_t stride = row_stride(sum_.features);
    run_rows(call, sum_, [&](size_t first, size_t last) {
        call.kernels.elementwise->add(call.data(left_) + first * stride, call.data(right_) + first * stride,
                                      call.data(sum_) + first * stride, (last - first) * stride);
    });
}

void ScaleShift::run(const Call& call) const {
    const size_t stride = row_stride(x_.features);
    run_rows(call, x_, [&](size_t first, size_t last) {
        for (size_t row = first; row < last; row++)
            call.kernels.elementwise->scale_shift(call.data(x_) + row * stride, scale_, shift_,
                                                  call.data(y_) + row * stride, x_.features);
    });
}

void Softmax::run(const Call& call) const {
    const size_t stride = row_stride(x_.features);
    run_rows(call, x_, [&](size_t first, size_t last) {
        for (size_t row = first; row < last; row++) {
            float* y = call.data(y_) + row * stride;
            if (call.data(x_) != call.data(y_))
                std::memcpy(y, call.data(x_) + row * stride, x_.features * sizeof(float));
            call.kernels.elementwise->softmax(y, x_.features);
        }
    });
}

void Reshape::run(const Call& call) const {
    const size_t x_stride = row_stride(x_.features), y_stride = row_stride(y_.features);
    const float* x = call.data(x_);
    float* y = call.data(y_);
    // Copies the longest pieces that lie in one row of both.
    const size_t total = call.rows(x_) * x_.features;
    for (size_t at = 0; at < total;) {
        const size_t x_column = at % x_.features, y_column = at % y_.features;
        const size_t piece = std::min(x_.features - x_column, y_.features - y_column);
        std::memcpy(y + at / y_.features * y_stride + y_column, x + at / x_.features * x_stride + x_column,
                    piece * sizeof(float));
        at += piece;
    }
}

}  // namespace sparbor
