#include "ops/quad_product.h"

#include <algorithm>

#include "ops/quad_matrix.h"

namespace sparbor {
namespace {

constexpr size_t line = 64;  // bytes

class QuadProduct final : public RowProduct {
public:
    QuadProduct(size_t rows, size_t inputs, std::shared_ptr<const QuadMatrix> matrix,
                std::optional<Activation> activation)
        : inputs_(inputs), stride_(round_up(inputs, quad_branch)),
          most_rows_(std::min(rows, std::clamp(cache_bytes / stride_, fewest_rows, enough_rows))),
          matrix_(std::move(matrix)), activation_(activation) {}

    const char* way() const override { return "sparse"; }

    // The first thread has the rows of bytes, and behind them their ranges.
    size_t scratch_floats() const override {
        return (most_rows_ * stride_ + round_up(most_rows_ * sizeof(ByteRange), line)) / sizeof(float);
    }

    void run(const Call& call, const Rows& rows) const override {
        for (size_t done = 0; done < rows.count; done += most_rows_)
            run_some(call, {rows.x + done * rows.x_stride, rows.x_stride, rows.y + done * rows.y_stride, rows.y_stride,
                            std::min(most_rows_, rows.count - done)});
    }

private:
    // As many rows at once as a second cache holds beside the weights, and several tiles of rows however long those are.
    static constexpr size_t cache_bytes = 1 << 18, fewest_rows = 24, enough_rows = 240;

    void run_some(const Call& call, const Rows& rows) const {
        const Quads& kernels = *call.kernels.quads;
        auto* const bytes = reinterpret_cast<uint8_t*>(call.scratch());
        auto* const ranges = reinterpret_cast<ByteRange*>(bytes + most_rows_ * stride_);
        const auto count = static_cast<double>(rows.count);
        call.split(rows.count, 0.1 * count * static_cast<double>(inputs_), [&](size_t row, size_t last, size_t) {
            for (; row < last; row++)
                ranges[row] = kernels.to_bytes(rows.x + row * rows.x_stride, inputs_, bytes + row * stride_);
        });
        const ByteRows given{bytes, stride_, ranges, rows.y, rows.y_stride, rows.count};
        call.split(matrix_->groups(), 0.5 * count * static_cast<double>(matrix_->quads()),
                   [&](size_t first, size_t last, size_t) {
                       kernels.sparse(matrix_->layer(), given, first, last);
                       if (activation_)
                           apply(*activation_, rows.y + first * neuron_block, rows.y_stride, rows.count,
                                 (last - first) * neuron_block);
                   });
    }

    size_t inputs_, stride_, most_rows_;
    std::shared_ptr<const QuadMatrix> matrix_;
    std::optional<Activation> activation_;
};

}  // namespace

std::unique_ptr<RowProduct> make_quad_product(const Node& node, const Placement& at, size_t rows) {
    constexpr size_t only_way = 0;
    const Layer& layer = *node.layer();
    const Ending ending = ending_of(node, at.kernels);
    auto made = at.layer.get<QuadMatrix>(only_way, layer.outputs, [&] {
        return std::make_shared<const QuadMatrix>(layer, ending.clamp_min);
    });
    return std::make_unique<QuadProduct>(rows, layer.fan_in, std::move(made), ending.activation);
}

}  // namespace sparbor
