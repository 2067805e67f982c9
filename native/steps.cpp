#include "steps.h"

#include <algorithm>
#include <cstring>
#include <limits>

#ifndef _WIN32
#include <unistd.h>
#endif

namespace sparbor {
namespace {

constexpr size_t most_columns = 4 * column_tile;  // of a linear layer's panel

size_t panel_columns(size_t rows) { return std::min(most_columns, round_up(rows, column_tile)); }

size_t first_cache_bytes() {
#ifdef _SC_LEVEL1_DCACHE_SIZE
    if (const long bytes = sysconf(_SC_LEVEL1_DCACHE_SIZE); bytes > 0) return static_cast<size_t>(bytes);
#endif
    return 32 * 1024;
}

size_t groups_of(size_t neurons) { return round_up(neurons, group_size) / group_size; }

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

Rows rows_of(const Call& call, const Value& x, const Value& y) {
    return {call.data(x), row_stride(x.features), call.data(y), row_stride(y.features), call.rows(x)};
}

void apply(const Activation& activation, float* rows, size_t stride, size_t count, size_t features) {
    for (size_t row = 0; row < count; row++) activation.map(rows + row * stride, features, activation.a, activation.b);
}

// Runs kernel(first group, last group, thread), split over the threads, and the activation over what was just written.
template <class Kernel>
void run_linear(const Call& call, const Rows& rows, size_t groups, double work, const Kernel& kernel,
                const std::optional<Activation>& activation) {
    call.split(groups, work, [&](size_t first, size_t last, size_t thread) {
        kernel(first, last, thread);
        if (activation)
            apply(*activation, rows.y + first * group_size, rows.y_stride, rows.count, (last - first) * group_size);
    });
}

// Runs part(row, last row, thread) over the rows of an element-wise step.
template <class Part>
void run_rows(const Call& call, const Value& value, const Part& part) {
    const size_t rows = call.rows(value);
    call.split(rows, 0.2 * rows * value.features, part);
}

}  // namespace

std::vector<float> whole(const float* values, size_t count, size_t multiple, float filler) {
    std::vector<float> padded(round_up(count, multiple), filler);
    if (values) std::copy(values, values + count, padded.begin());
    return padded;
}

uint32_t chunk_shift(size_t input_floats, size_t inputs) {
    static const size_t floats = std::max(first_cache_bytes() / sizeof(float), 2 * waiting_sums) - waiting_sums;
    const size_t branches = round_up(inputs, branch_size) / branch_size;
    uint32_t shift = 0;
    while ((2 << shift) * branch_size * input_floats <= floats || branches >> shift >= most_chunks) shift++;
    return shift;
}

float floor_of(bool relu) { return relu ? 0.0f : -std::numeric_limits<float>::infinity(); }

SparseMatrix::SparseMatrix(const SparseArrays& arrays, size_t outputs, bool relu)
    : scale_(whole(arrays.scale, outputs, group_size, 1.0f)), bias_(whole(arrays.bias, outputs, group_size, 0.0f)),
      most_slots_(0) {
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
        Group& group = groups_.back();
        if (arrays.words) {
            const size_t neurons = std::min(group_size, outputs - (groups_.size() - 1) * group_size);
            group.normal = all_normal(arrays.words + group.slot * group_size, at.slot - group.slot, neurons);
        }
    }
    slots_ = at.slot;
    for (size_t i = 0; i < groups_.size(); i++) {
        const size_t end = i + most_groups < groups_.size() ? groups_[i + most_groups].slot : slots_;
        most_slots_ = std::max<size_t>(most_slots_, end - groups_[i].slot);
    }
    layer_ = {groups_.data(), runs_.data(), arrays.branches, arrays.words,      arrays.weights, arrays.indices,
              scale_.data(),  bias_.data(), floor_of(relu),  arrays.padded};
}

SparseLinear::SparseLinear(Value x, Value y, const SparseArrays& arrays, bool relu,
                           std::optional<Activation> activation)
    : x_(x), y_(y), matrix_(arrays, y.features, relu), activation_(activation),
      work_(0.6 * static_cast<double>(matrix_.slots())) {}

// The waiting sums, decoded slots and results of some groups.
size_t SparseLinear::own_floats(size_t columns) const {
    return waiting_sums + matrix_.decoded_floats() + most_groups * group_size * columns;
}

// The first thread has the panel as well.
size_t SparseLinear::scratch_floats(const KernelSet& kernels, size_t batch) const {
    const size_t rows = batch * x_.rows, columns = panel_columns(rows);
    if (rows < kernels.worth_columns) return 0;
    return own_floats(columns) + (x_.features + 1) * columns;
}

void SparseLinear::run(const Call& call) const {
    const Rows rows = rows_of(call, x_, y_);
    if (rows.count >= call.kernels.worth_columns) return run_columns(call, rows);
    run_linear(
        call, rows, matrix_.groups(), work_ * rows.count,
        [&](size_t first, size_t last, size_t) { call.kernels.sparse(matrix_.layer(), rows, first, last); },
        activation_);
}

void SparseLinear::run_columns(const Call& call, const Rows& all) const {
    const Columns& columns = *call.kernels.columns;
    const size_t most = panel_columns(all.count);
    float* const data = call.scratch() + own_floats(most);
    for (size_t done = 0; done < all.count; done += most) {
        const size_t count = std::min(all.count - done, most);
        const Rows rows{all.x + done * all.x_stride, all.x_stride, all.y + done * all.y_stride, all.y_stride, count};
        const size_t width = panel_columns(count);
        columns.to_panel(rows, x_.features, width, data);
        const Panel panel{data, nullptr, static_cast<uint32_t>(width), static_cast<uint32_t>(x_.features * width),
                          width / column_tile, chunk_shift(width, x_.features), count};
        run_linear(
            call, rows, matrix_.groups(), work_ * width,
            [&](size_t first, size_t last, size_t thread) {
                float* const waiting = call.scratch(thread);
                auto* const decoded = reinterpret_cast<Synapses*>(waiting + waiting_sums);
                float* const results = waiting + waiting_sums + matrix_.decoded_floats();
                for (size_t group = first; group < last; group += most_groups) {
                    const size_t groups = std::min(most_groups, last - group);
                    const Tile tile{results, width, groups * group_size};
                    columns.sparse(matrix_.layer(), group, groups, panel, tile, waiting, decoded);
                    for (size_t i = 0; i < groups; i++)
                        columns.to_rows(results + i * group_size * width, width, rows.y + (group + i) * group_size,
                                        rows.y_stride, count);
                }
            },
            activation_);
    }
}

DenseLinear::DenseLinear(Value x, Value y, const float* panels, const uint16_t* halves, const float* scale,
                         const float* bias, bool relu, std::optional<Activation> activation)
    : x_(x), y_(y), scale_(whole(scale, y.features, group_size, 1.0f)),
      bias_(whole(bias, y.features, group_size, 0.0f)), activation_(activation) {
    layer_ = {panels, halves, scale_.data(), bias_.data(), x.features, floor_of(relu)};
    work_ = 0.5 * static_cast<double>(groups_of(y.features) * x.features);
}

void DenseLinear::run(const Call& call) const {
    const Rows rows = rows_of(call, x_, y_);
    run_linear(
        call, rows, groups_of(y_.features), work_ * rows.count,
        [&](size_t first, size_t last, size_t) { call.kernels.dense(layer_, rows, first, last); }, activation_);
}

void Apply::run(const Call& call) const {
    const size_t stride = row_stride(x_.features);
    run_rows(call, x_, [&](size_t first, size_t last, size_t) {
        const float* x = call.data(x_) + first * stride;
        float* y = call.data(y_) + first * stride;
        if (x != y) std::memcpy(y, x, (last - first) * stride * sizeof(float));
        apply(activation_, y, stride, last - first, x_.features);
    });
}

Add::Add(Value left, Value right, Value sum, bool relu, std::optional<Activation> activation)
    : left_(left), right_(right), sum_(sum), floor_(floor_of(relu)), activation_(activation) {}

void Add::run(const Call& call) const {
    const size_t stride = row_stride(sum_.features);
    run_rows(call, sum_, [&](size_t first, size_t last, size_t) {
        float* const sum = call.data(sum_) + first * stride;
        call.kernels.elementwise->add(call.data(left_) + first * stride, call.data(right_) + first * stride, sum,
                                      (last - first) * stride, floor_);
        if (activation_) apply(*activation_, sum, stride, last - first, sum_.features);
    });
}

void ScaleShift::run(const Call& call) const {
    const size_t stride = row_stride(x_.features);
    run_rows(call, x_, [&](size_t first, size_t last, size_t) {
        for (size_t row = first; row < last; row++)
            call.kernels.elementwise->scale_shift(call.data(x_) + row * stride, scale_, shift_,
                                                  call.data(y_) + row * stride, x_.features);
    });
}

void RowScaleShift::run(const Call& call) const {
    const size_t stride = row_stride(x_.features);
    run_rows(call, x_, [&](size_t first, size_t last, size_t) {
        for (size_t row = first; row < last; row++)
            call.kernels.elementwise->scale_shift_all(call.data(x_) + row * stride, scale_[row % x_.rows],
                                                      shift_[row % x_.rows], call.data(y_) + row * stride,
                                                      x_.features);
    });
}

void LayerNorm::run(const Call& call) const {
    const size_t stride = row_stride(x_.features);
    run_rows(call, x_, [&](size_t first, size_t last, size_t) {
        for (size_t row = first; row < last; row++)
            call.kernels.elementwise->layer_norm(call.data(x_) + row * stride, scale_, shift_, epsilon_,
                                                 call.data(y_) + row * stride, x_.features);
    });
}

void Softmax::run(const Call& call) const {
    const size_t stride = row_stride(x_.features);
    run_rows(call, x_, [&](size_t first, size_t last, size_t) {
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
    if (x_stride == x_.features && y_stride == y_.features)
        return static_cast<void>(std::memcpy(y, x, call.rows(x_) * x_stride * sizeof(float)));
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

void Concatenate::run(const Call& call) const {
    const size_t y_stride = row_stride(y_.features);
    size_t at = 0;  // within an item of y
    for (const Value& part : parts_) {
        const size_t stride = row_stride(part.features);
        for (size_t item = 0; item < call.batch; item++)
            std::memcpy(call.data(y_, item) + at, call.data(part, item),
                        ((part.rows - 1) * stride + part.features) * sizeof(float));
        at += part.features == y_.features ? part.rows * y_stride : part.features;
    }
}

void WindowPool::run_plane(const Pools& pools, const float* plane, float* y) const {
    switch (kind_) {
        case Kind::max: return pools.max_pool(geometry_, plane, y);
        case Kind::average: return pools.average_pool(geometry_, plane, y, count_padding_, divisor_);
        case Kind::adaptive_max: return pools.adaptive_max(geometry_, plane, y);
        case Kind::adaptive_average: return pools.adaptive_average(geometry_, plane, y);
    }
}

void WindowPool::run(const Call& call) const {
    const size_t x_stride = row_stride(x_.features), y_stride = row_stride(y_.features);
    run_rows(call, x_, [&](size_t first, size_t last, size_t) {
        for (size_t row = first; row < last; row++)
            run_plane(*call.kernels.pools, call.data(x_) + row * x_stride, call.data(y_) + row * y_stride);
    });
}

}  // namespace sparbor
