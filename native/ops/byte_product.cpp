#include "ops/byte_product.h"

#include <algorithm>

#include "ops/dense_byte_matrix.h"
#include "ops/row_quads.h"
#include "ops/sparse_or_dense.h"

namespace sparbor {
namespace {

constexpr size_t line = 64;  // bytes
// As many rows at once as a second cache holds beside the weights, and several tiles of rows however long those are.
constexpr size_t cache_bytes = 1 << 18, fewest_rows = 24, enough_rows = 240;

class QuadProduct final : public ByteProduct {
public:
    // `ordered` is there for one row alone.
    QuadProduct(size_t rows, size_t inputs, std::shared_ptr<const QuadMatrix> matrix,
                std::shared_ptr<const OrderedQuads> ordered, std::optional<Activation> activation)
        : ByteProduct(rows, inputs, activation), matrix_(std::move(matrix)), ordered_(std::move(ordered)) {}

    const char* way() const override { return "sparse"; }

private:
    size_t groups() const override { return matrix_->groups(); }
    double work() const override { return 0.5 * static_cast<double>(matrix_->quads()); }
    void multiply(const Quads& kernels, const ByteRows& rows, size_t first, size_t last) const override {
        if (ordered_ && first < last) kernels.row(matrix_->layer(), ordered_->row(), rows, first, last);
        else kernels.sparse(matrix_->layer(), rows, first, last);
    }

    std::shared_ptr<const QuadMatrix> matrix_;
    std::shared_ptr<const OrderedQuads> ordered_;
};

class DenseByteProduct final : public ByteProduct {
public:
    DenseByteProduct(size_t rows, size_t inputs, std::shared_ptr<const DenseByteMatrix> matrix,
                     std::optional<Activation> activation)
        : ByteProduct(rows, inputs, activation), matrix_(std::move(matrix)) {}

private:
    size_t groups() const override { return matrix_->groups(); }
    double work() const override { return 0.15 * static_cast<double>(matrix_->fours()); }
    void multiply(const Quads& kernels, const ByteRows& rows, size_t first, size_t last) const override {
        kernels.dense->rows(matrix_->layer(), rows, first, last);
    }

    std::shared_ptr<const DenseByteMatrix> matrix_;
};

enum Way : size_t { sparse, dense, ordered };

}  // namespace

ByteProduct::ByteProduct(size_t rows, size_t inputs, std::optional<Activation> activation)
    : rows_(rows), inputs_(inputs), stride_(round_up(inputs, quad_branch)),
      most_rows_(std::min(rows, std::clamp(cache_bytes / stride_, fewest_rows, enough_rows))),
      activation_(activation) {}

size_t ByteProduct::scratch_floats() const {
    return (most_rows_ * stride_ + round_up(most_rows_ * sizeof(ByteRange), line)) / sizeof(float);
}

void ByteProduct::run(const Call& call, const Rows& rows) const {
    for (size_t done = 0; done < rows.count; done += most_rows_)
        run_some(call, {rows.x + done * rows.x_stride, rows.x_stride, rows.y + done * rows.y_stride, rows.y_stride,
                        std::min(most_rows_, rows.count - done)});
}

void ByteProduct::run_some(const Call& call, const Rows& rows) const {
    const Quads& kernels = *call.kernels.quads;
    auto* const bytes = reinterpret_cast<uint8_t*>(call.scratch());
    auto* const ranges = reinterpret_cast<ByteRange*>(bytes + most_rows_ * stride_);
    const auto count = static_cast<double>(rows.count);
    if (!finds_bytes_)
        call.split(rows.count, 0.1 * count * static_cast<double>(inputs_), [&](size_t row, size_t last, size_t) {
            for (; row < last; row++)
                ranges[row] = kernels.to_bytes(rows.x + row * rows.x_stride, inputs_, bytes + row * stride_);
        });
    const ByteRows given{bytes, stride_, ranges, rows.y, rows.y_stride, rows.count};
    call.split(groups(), count * work(), [&](size_t first, size_t last, size_t) {
        multiply(kernels, given, first, last);
        if (activation_)
            apply(*activation_, rows.y + first * neuron_block, rows.y_stride, rows.count,
                  (last - first) * neuron_block);
    });
}

std::unique_ptr<RowProduct> make_byte_product(const Node& node, const Placement& at, size_t rows) {
    const Layer& layer = *node.layer();
    const Ending ending = ending_of(node, at.kernels);
    if (is(layer, LayerKind::dense) || (!at.as_stored && faster_dense(layer, rows, at.kernels))) {
        const Runs one{1, layer.fan_in, layer.fan_in};
        auto made = at.layer.get<DenseByteMatrix>(dense, layer.outputs, [&] {
            return std::make_shared<const DenseByteMatrix>(layer, one, ending.clamp_min);
        });
        return std::make_unique<DenseByteProduct>(rows, layer.fan_in, std::move(made), ending.activation);
    }
    auto made = at.layer.get<QuadMatrix>(
        sparse, layer.outputs, [&] { return std::make_shared<const QuadMatrix>(layer, ending.clamp_min); });
    std::shared_ptr<const OrderedQuads> in_order;
    if (rows == 1 && at.kernels.quads->row && has_few_inputs(layer))
        in_order = at.layer.get<OrderedQuads>(
            ordered, layer.outputs, [&] { return std::make_shared<const OrderedQuads>(layer, *made); });
    return std::make_unique<QuadProduct>(rows, layer.fan_in, std::move(made), std::move(in_order), ending.activation);
}

}  // namespace sparbor
