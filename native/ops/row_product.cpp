#include "ops/row_product.h"

#include <algorithm>

#include "encodings/slots.h"
#include "ops/byte_product.h"
#include "ops/dense_panels.h"
#include "ops/row_quads.h"
#include "ops/sparse_matrix.h"
#include "ops/sparse_or_dense.h"

namespace sparbor {
namespace {

constexpr size_t most_columns = 4 * column_tile;  // of a packed input

size_t packed_columns(size_t rows) { return std::min(most_columns, round_up(rows, column_tile)); }

size_t groups_of(size_t neurons) { return round_up(neurons, neuron_block) / neuron_block; }

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

class SparseProduct final : public RowProduct {
public:
    SparseProduct(size_t rows, size_t inputs, const KernelSet& kernels, std::shared_ptr<const SparseMatrix> matrix,
                  std::optional<Activation> activation)
        : rows_(rows), inputs_(inputs), matrix_(std::move(matrix)), activation_(activation),
          by_columns_(rows >= kernels.worth_columns), work_(0.6 * static_cast<double>(matrix_->slots())) {}

    const char* way() const override { return "sparse"; }

    void run(const Call& call, const Rows& rows) const override {
        if (by_columns_) return run_columns(call, rows);
        run_groups(
            call, rows, matrix_->groups(), work_ * rows.count,
            [&](size_t first, size_t last, size_t) { call.kernels.sparse(matrix_->layer(), rows, first, last); },
            activation_);
    }

    // The first thread has the packed input as well.
    size_t scratch_floats() const override {
        const size_t columns = packed_columns(rows_);
        return by_columns_ ? own_floats(columns) + (inputs_ + 1) * columns : 0;
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
            call.kernels.columns->to_packed(rows, inputs_, width, data);
            const auto step = static_cast<uint32_t>(width), zeros = static_cast<uint32_t>(inputs_ * width);
            const PackedInput packed{
                data, nullptr, step, zeros, width / column_tile, chunk_shift(width, inputs_), count};
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

    size_t rows_, inputs_;
    std::shared_ptr<const SparseMatrix> matrix_;
    std::optional<Activation> activation_;
    bool by_columns_;
    double work_;  // nanoseconds for one row, roughly
};

class DenseProduct final : public RowProduct {
public:
    DenseProduct(size_t outputs, std::shared_ptr<const DensePanels> panels, std::optional<Activation> activation)
        : groups_(groups_of(outputs)), panels_(std::move(panels)), activation_(activation),
          work_(0.5 * static_cast<double>(groups_ * panels_->layer().fan_in)) {}

    void run(const Call& call, const Rows& rows) const override {
        run_groups(
            call, rows, groups_, work_ * static_cast<double>(rows.count),
            [&](size_t first, size_t last, size_t) { call.kernels.dense(panels_->layer(), rows, first, last); },
            activation_);
    }

private:
    size_t groups_;
    std::shared_ptr<const DensePanels> panels_;
    std::optional<Activation> activation_;
    double work_;
};

enum Way : size_t { sparse, dense };

}  // namespace

std::unique_ptr<RowProduct> make_row_product(const Node& node, const Placement& at, size_t rows) {
    const Layer& layer = *node.layer();
    if (has_bytes(layer)) return make_byte_product(node, at, rows);
    const Ending ending = ending_of(node, at.kernels);
    if (is(layer, LayerKind::dense) || (!at.as_stored && faster_dense(layer, rows, at.kernels))) {
        auto made = at.layer.get<DensePanels>(
            dense, layer.outputs, [&] { return std::make_shared<const DensePanels>(layer, ending.clamp_min); });
        return std::make_unique<DenseProduct>(layer.outputs, std::move(made), ending.activation);
    }
    auto made = at.layer.get<SparseMatrix>(sparse, layer.outputs, [&] {
        return std::make_shared<const SparseMatrix>(layer, std::vector<bool>(layer.outputs, true), ending.clamp_min);
    });
    return std::make_unique<SparseProduct>(rows, layer.fan_in, at.kernels, std::move(made), ending.activation);
}

void check_row_layer(const Node& node) {
    const Layer& layer = *node.layer();
    node.require(is(layer, LayerKind::sparse) || is(layer, LayerKind::dense), "its layer is not a linear one");
}

double work_of_rows(const Node& node, size_t rows) {
    return static_cast<double>(rows) * static_cast<double>(node.layer()->encoding->places(*node.layer()));
}

// The outputs' scale, bias, group and sum of weights, quads in the order of branches, and what a sparse layer may
// become, or one of bytes does; it is laid out anew for each operation.
LayoutCost layout_of_rows(const Node& node) {
    constexpr uint64_t most_sparse = 5;  // times as large as a layer is dense that is faster so, see `linear_share`
    const Layer& layer = *node.layer();
    uint64_t dense = 0;
    if (is(layer, LayerKind::sparse)) dense = std::min(dense_bytes(layer), most_sparse * layer.bytes());
    else if (has_bytes(layer)) dense = dense_bytes(layer);
    const bool ordered = has_bytes(layer) && is(layer, LayerKind::sparse) && has_few_inputs(layer);
    return {(ordered ? 2 : 1) * layer.bytes() + 16 * layer.outputs + dense, 0};
}

}  // namespace sparbor
