// Linear layers, sparse and dense: y = x · W^T + b, row by row.
#include <algorithm>

#include "encodings/slots.h"
#include "ops/families.h"
#include "ops/outputs.h"
#include "ops/sparse_matrix.h"

namespace sparbor {
namespace {

constexpr size_t most_columns = 4 * column_tile;  // of a panel

size_t panel_columns(size_t rows) { return std::min(most_columns, round_up(rows, column_tile)); }

size_t groups_of(size_t neurons) { return round_up(neurons, group_size) / group_size; }

Rows rows_of(const Call& call, const Value& x, const Value& y) {
    return {call.data(x), row_stride(x.features), call.data(y), row_stride(y.features), call.rows(x)};
}

// Runs kernel(first group, last group, thread), split over the threads, and the activation over what was just written.
template <class Kernel>
void run_groups(const Call& call, const Rows& rows, size_t groups, double work, const Kernel& kernel,
                const std::optional<Activation>& activation) {
    call.split(groups, work, [&](size_t first, size_t last, size_t thread) {
        kernel(first, last, thread);
        if (activation)
            apply(*activation, rows.y + first * group_size, rows.y_stride, rows.count, (last - first) * group_size);
    });
}

class SparseLinear final : public Step {
public:
    SparseLinear(Value x, Value y, const Layer& layer, const Ending& ending)
        : x_(x), y_(y), matrix_(layer, std::vector<bool>(layer.outputs, true), ending.clamp_min),
          activation_(ending.activation), work_(0.6 * static_cast<double>(matrix_.slots())) {}

    void run(const Call& call) const override {
        const Rows rows = rows_of(call, x_, y_);
        if (rows.count >= call.kernels.worth_columns) return run_columns(call, rows);
        run_groups(
            call, rows, matrix_.groups(), work_ * rows.count,
            [&](size_t first, size_t last, size_t) { call.kernels.sparse(matrix_.layer(), rows, first, last); },
            activation_);
    }

    // The first thread has the panel as well.
    size_t scratch_floats(const KernelSet& kernels, size_t batch) const override {
        const size_t rows = batch * x_.rows, columns = panel_columns(rows);
        if (rows < kernels.worth_columns) return 0;
        return own_floats(columns) + (x_.features + 1) * columns;
    }

private:
    // The waiting sums, decoded slots and results of some groups.
    size_t own_floats(size_t columns) const {
        return waiting_sums + matrix_.decoded_floats() + most_groups * group_size * columns;
    }

    void run_columns(const Call& call, const Rows& all) const {
        const size_t most = panel_columns(all.count);
        float* const data = call.scratch() + own_floats(most);
        for (size_t done = 0; done < all.count; done += most) {
            const size_t count = std::min(all.count - done, most), width = panel_columns(count);
            const Rows rows{all.x + done * all.x_stride, all.x_stride, all.y + done * all.y_stride, all.y_stride, count};
            call.kernels.columns->to_panel(rows, x_.features, width, data);
            const Panel panel{data, nullptr, static_cast<uint32_t>(width), static_cast<uint32_t>(x_.features * width),
                              width / column_tile, chunk_shift(width, x_.features), count};
            run_groups(
                call, rows, matrix_.groups(), work_ * width,
                [&](size_t first, size_t last, size_t thread) { run_panel(call, rows, panel, first, last, thread); },
                activation_);
        }
    }

    void run_panel(const Call& call, const Rows& rows, const Panel& panel, size_t first, size_t last,
                   size_t thread) const {
        const Columns& columns = *call.kernels.columns;
        const size_t width = panel.count * column_tile;
        float* const waiting = call.scratch(thread);
        auto* const decoded = reinterpret_cast<Synapses*>(waiting + waiting_sums);
        float* const results = waiting + waiting_sums + matrix_.decoded_floats();
        for (size_t group = first; group < last; group += most_groups) {
            const size_t groups = std::min(most_groups, last - group);
            const Tile tile{results, width, groups * group_size};
            columns.sparse(matrix_.layer(), group, groups, panel, tile, waiting, decoded);
            for (size_t i = 0; i < groups; i++)
                columns.to_rows(results + i * group_size * width, width, rows.y + (group + i) * group_size,
                                rows.y_stride, rows.count);
        }
    }

    Value x_, y_;
    SparseMatrix matrix_;
    std::optional<Activation> activation_;
    double work_;  // nanoseconds for one row, roughly
};

class DenseLinear final : public Step {
public:
    DenseLinear(Value x, Value y, const Layer& layer, const Ending& ending)
        : x_(x), y_(y), scale_(padded(layer.data<float>("scale"), y.features, group_size, 1.0f)),
          bias_(padded(layer.data<float>("bias"), y.features, group_size, 0.0f)), activation_(ending.activation) {
        layer_ = {layer.data<float>("panels"), layer.data<uint16_t>("halves"), scale_.data(), bias_.data(), x.features,
                  ending.clamp_min};
        work_ = 0.5 * static_cast<double>(groups_of(y.features) * x.features);
    }

    void run(const Call& call) const override {
        const Rows rows = rows_of(call, x_, y_);
        run_groups(
            call, rows, groups_of(y_.features), work_ * rows.count,
            [&](size_t first, size_t last, size_t) { call.kernels.dense(layer_, rows, first, last); }, activation_);
    }

private:
    Value x_, y_;
    std::vector<float> scale_, bias_;
    std::optional<Activation> activation_;
    DenseLayer layer_;
    double work_;
};

void check(const Node& node) {
    const Layer& layer = *node.layer();
    node.require(is(layer, LayerKind::sparse) || is(layer, LayerKind::dense), "its layer is not a linear one");
    node.require(has_rows(node.x()));
    Shape wanted = node.x();
    wanted.back() = layer.outputs;
    node.require(node.x().back() == layer.fan_in && node.y() == wanted);
}

double work(const Node& node) {
    const double rows = static_cast<double>(numbers_of(node.y())) / static_cast<double>(node.y().back());
    return rows * static_cast<double>(node.layer()->encoding->places(*node.layer()));
}

// The outputs' scale, bias and group; a layer is laid out anew for each operation that uses it.
Layout layout(const Node& node) { return {node.layer()->bytes() + 16 * node.layer()->outputs, 0}; }

std::unique_ptr<Step> make(const Node& node, const Placement& at) {
    const Ending ending = ending_of(node, at.kernels);
    if (is(*node.layer(), LayerKind::dense)) return std::make_unique<DenseLinear>(at.x[0], at.y, *node.layer(), ending);
    return std::make_unique<SparseLinear>(at.x[0], at.y, *node.layer(), ending);
}

}  // namespace

const std::vector<OperatorType>& linear_operators() {
    static const std::vector<OperatorType> types = {
        {"linear", 1, Has::yes, Has::maybe, {}, Aliasing::none, check, work, layout, make},
    };
    return types;
}

}  // namespace sparbor
