// Linear layers, sparse and dense: y = x · W^T + b, row by row.
#include <algorithm>

#include "encodings/slots.h"
#include "ops/families.h"
#include "ops/outputs.h"
#include "ops/dense_panels.h"
#include "ops/sparse_matrix.h"
#include "ops/sparse_or_dense.h"

namespace sparbor {
namespace {

constexpr size_t most_columns = 4 * column_tile;  // of a packed input

size_t packed_columns(size_t rows) { return std::min(most_columns, round_up(rows, column_tile)); }

size_t groups_of(size_t neurons) { return round_up(neurons, neuron_block) / neuron_block; }

Rows both(const Call& call, const Matrix& x, const Matrix& y) {
    return {call.data(x), x.stride, call.data(y), y.stride, x.rows};
}

// Runs kernel(first group, last group, thread), split over the threads, and the activation over what was just written.
template <class Kernel>
void run_groups(const Call& call, const Rows& rows, size_t groups, double work, const Kernel& kernel,
                const std::optional<Activation>& activation) {
    call.split(groups, work, [&](size_t first, size_t last, size_t thread) {
        kernel(first, last, thread);
        if (activation)
            apply(*activation, rows.y + first * neuron_block, rows.y_stride, rows.count, (last - first) * neuron_block);
    });
}

class SparseLinear final : public Step {
public:
    SparseLinear(const KernelSet& kernels, const Matrix& x, const Matrix& y, std::shared_ptr<const SparseMatrix> matrix,
                 std::optional<Activation> activation)
        : x_(x), y_(y), matrix_(std::move(matrix)), activation_(activation),
          by_columns_(x.rows >= kernels.worth_columns), work_(0.6 * static_cast<double>(matrix_->slots())) {}

    const char* way() const override { return "sparse"; }

    void run(const Call& call) const override {
        const Rows rows = both(call, x_, y_);
        if (by_columns_) return run_columns(call, rows);
        run_groups(
            call, rows, matrix_->groups(), work_ * rows.count,
            [&](size_t first, size_t last, size_t) { call.kernels.sparse(matrix_->layer(), rows, first, last); },
            activation_);
    }

    // The first thread has the packed input as well.
    size_t scratch_floats() const override {
        const size_t columns = packed_columns(x_.rows);
        return by_columns_ ? own_floats(columns) + (x_.columns + 1) * columns : 0;
    }

private:
    // The waiting sums, decoded slots and results of some groups.
    size_t own_floats(size_t columns) const {
        return waiting_sums + matrix_->decoded_floats() + most_groups * neuron_block * columns;
    }

    void run_columns(const Call& call, const Rows& all) const {
        const size_t most = packed_columns(all.count);
        float* const data = call.scratch() + own_floats(most);
        for (size_t done = 0; done < all.count; done += most) {
            const size_t count = std::min(all.count - done, most), width = packed_columns(count);
            const Rows rows{all.x + done * all.x_stride, all.x_stride, all.y + done * all.y_stride, all.y_stride,
                            count};
            call.kernels.columns->to_packed(rows, x_.columns, width, data);
            const auto step = static_cast<uint32_t>(width), zeros = static_cast<uint32_t>(x_.columns * width);
            const PackedInput packed{
                data, nullptr, step, zeros, width / column_tile, chunk_shift(width, x_.columns), count};
            run_groups(
                call, rows, matrix_->groups(), work_ * width,
                [&](size_t first, size_t last, size_t thread) { run_packed(call, rows, packed, first, last, thread); },
                activation_);
        }
    }

    void run_packed(const Call& call, const Rows& rows, const PackedInput& packed, size_t first, size_t last,
                   size_t thread) const {
        const Columns& columns = *call.kernels.columns;
        const size_t width = packed.count * column_tile;
        float* const waiting = call.scratch(thread);
        auto* const decoded = reinterpret_cast<Synapses*>(waiting + waiting_sums);
        float* const results = waiting + waiting_sums + matrix_->decoded_floats();
        for (size_t group = first; group < last; group += most_groups) {
            const size_t groups = std::min(most_groups, last - group);
            const Tile tile{results, width, groups * neuron_block};
            columns.sparse(matrix_->layer(), group, groups, packed, tile, waiting, decoded);
            for (size_t i = 0; i < groups; i++)
                columns.to_rows(results + i * neuron_block * width, width, rows.y + (group + i) * neuron_block,
                                rows.y_stride, rows.count);
        }
    }

    Matrix x_, y_;
    std::shared_ptr<const SparseMatrix> matrix_;
    std::optional<Activation> activation_;
    bool by_columns_;
    double work_;  // nanoseconds for one row, roughly
};

class DenseLinear final : public Step {
public:
    DenseLinear(const Matrix& x, const Matrix& y, std::shared_ptr<const DensePanels> panels,
                std::optional<Activation> activation)
        : x_(x), y_(y), panels_(std::move(panels)), activation_(activation),
          work_(0.5 * static_cast<double>(groups_of(y.columns) * x.columns)) {}

    void run(const Call& call) const override {
        const Rows rows = both(call, x_, y_);
        run_groups(
            call, rows, groups_of(y_.columns), work_ * static_cast<double>(rows.count),
            [&](size_t first, size_t last, size_t) { call.kernels.dense(panels_->layer(), rows, first, last); },
            activation_);
    }

private:
    Matrix x_, y_;
    std::shared_ptr<const DensePanels> panels_;
    std::optional<Activation> activation_;
    double work_;
};

void check(const Node& node) {
    const Layer& layer = *node.layer();
    node.require(is(layer, LayerKind::sparse) || is(layer, LayerKind::dense), "its layer is not a linear one");
    node.require(!node.x().empty());
    Shape wanted = node.x();
    wanted.back() = layer.outputs;
    node.require(node.x().back() == layer.fan_in && node.y() == wanted);
}

double work(const Node& node) {
    const double rows = static_cast<double>(numbers_of(node.y())) / static_cast<double>(node.y().back());
    return rows * static_cast<double>(node.layer()->encoding->places(*node.layer()));
}

// The outputs' scale, bias and group, and what a sparse layer may become; it is laid out anew for each operation.
LayoutCost layout(const Node& node) {
    constexpr uint64_t most_sparse = 5;  // times as large as a layer is dense that is faster so, see `linear_share`
    const Layer& layer = *node.layer();
    const uint64_t dense =
        is(layer, LayerKind::sparse) ? std::min(dense_bytes(layer), most_sparse * layer.bytes()) : 0;
    return {layer.bytes() + 16 * layer.outputs + dense, 0};
}

enum Way : size_t { sparse, dense };

std::unique_ptr<Step> make(const Node& node, const Placement& at) {
    const Layer& layer = *node.layer();
    const Ending ending = ending_of(node, at.kernels);
    const Matrix x = rows_of(at.x[0]), y = rows_of(at.y);
    if (is(layer, LayerKind::dense) || (!at.as_stored && faster_dense(layer, x.rows, at.kernels))) {
        const auto made = at.layer.get<DensePanels>(
            dense, layer.outputs, [&] { return std::make_shared<const DensePanels>(layer, ending.clamp_min); });
        return std::make_unique<DenseLinear>(x, y, made, ending.activation);
    }
    const auto made = at.layer.get<SparseMatrix>(sparse, layer.outputs, [&] {
        return std::make_shared<const SparseMatrix>(layer, std::vector<bool>(layer.outputs, true), ending.clamp_min);
    });
    return std::make_unique<SparseLinear>(at.kernels, x, y, made, ending.activation);
}

}  // namespace

const std::vector<OperatorType>& linear_operators() {
    static const std::vector<OperatorType> types = {
        {"linear", 1, Has::yes, Has::maybe, {}, Takes::floats, Lies::rows, Aliasing::none, check, work, layout, make},
    };
    return types;
}

}  // namespace sparbor
