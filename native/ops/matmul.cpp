// Products of two values, as matrices of their last two dimensions. The right one is read where it lies or, if many rows
// are multiplied with it, packed at run time as the weights of a dense layer are stored.
#include <algorithm>
#include <cstring>

#include "ops/families.h"
#include "ops/outputs.h"

namespace sparbor {
namespace {

constexpr size_t few_rows = 28;              // that are done before the right matrix would be packed
constexpr size_t packed_floats = 32 * 1024;  // of columns that are packed at once, for the second cache
constexpr size_t two_blocks = 2 * neuron_block;

// The leading dimensions, of which one of 1 is as if repeated; and of a matrix, the strides.
struct Operand {
    size_t offset;  // in floats
    std::vector<size_t> leading;
    size_t row, column;

    Operand(const Value& value, const Shape& result) : offset(value.offset / sizeof(float)) {
        const size_t rank = result.size();
        for (size_t i = 0; i + 2 < rank; i++) leading.push_back(value.shape[i] == 1 ? 0 : value.strides[i]);
        row = value.strides[rank - 2];
        column = value.shape[rank - 1] == 1 ? 1 : value.strides[rank - 1];
    }

    size_t at(size_t item, const Shape& result) const {
        size_t place = offset;
        for (size_t i = leading.size(); i-- > 0; item /= result[i]) place += item % result[i] * leading[i];
        return place;
    }
};

class Matmul final : public Step {
public:
    Matmul(const Value& x, const Value& y, const Value& to)
        : result_(to.shape), x_(x, result_), y_(y, result_), to_(to, result_), rows_(result_.end()[-2]),
          depth_(x.shape.back()), columns_(result_.back()), packs_(y_.column != 1 || rows_ > few_rows),
          strip_(std::min(round_up(columns_, neuron_block),
                          std::max(two_blocks, packed_floats / depth_ / two_blocks * two_blocks))) {
        for (size_t i = 0; i + 2 < result_.size(); i++) items_ *= result_[i];
    }

    void run(const Call& call) const override {
        const size_t strips = ceil_div(columns_, strip_);
        const double work = static_cast<double>(items_ * rows_) * static_cast<double>(depth_ * columns_) / 50;
        call.split(items_ * strips, work, [&](size_t first, size_t last, size_t thread) {
            for (size_t i = first; i < last; i++)
                multiply(call, i / strips, i % strips * strip_, call.scratch(thread));
        });
    }

    size_t scratch_floats() const override { return packs_ ? strip_ * depth_ : 0; }

private:
    // Some columns of one product.
    void multiply(const Call& call, size_t item, size_t column, float* packed) const {
        auto* const memory = reinterpret_cast<float*>(call.memory());
        const float* y = memory + y_.at(item, result_) + column * y_.column;
        const size_t columns = std::min(strip_, columns_ - column);
        if (packs_) {
            pack(call, y, columns, packed);
            y = packed;
        }
        call.kernels.products->multiply({rows_, depth_, columns, memory + x_.at(item, result_), x_.row, x_.column, y,
                                         packs_ ? neuron_block : y_.row, packs_ ? neuron_block * depth_ : neuron_block,
                                         memory + to_.at(item, result_) + column, to_.row});
    }

    void pack(const Call& call, const float* y, size_t columns, float* packed) const {
        if (y_.row == 1 || depth_ == 1)
            return call.kernels.products->pack_columns(y, y_.column, depth_, columns, packed);
        for (size_t first = 0; first < columns; first += neuron_block)
            for (size_t k = 0; k < depth_; k++, packed += neuron_block) {
                const float* const row = y + k * y_.row + first * y_.column;
                if (y_.column == 1) std::memcpy(packed, row, neuron_block * sizeof(float));  // up to a whole branch
                else pick(row, std::min(neuron_block, columns - first), packed);
            }
    }

    void pick(const float* row, size_t count, float* to) const {
        for (size_t i = 0; i < count; i++) to[i] = row[i * y_.column];
        std::fill(to + count, to + neuron_block, 0.0f);
    }

    Shape result_;
    Operand x_, y_, to_;
    size_t rows_, depth_, columns_;
    bool packs_;
    size_t strip_, items_ = 1;  // columns at once, and products
};

void check(const Node& node) {
    const Shape &x = node.x(0), &y = node.x(1), &to = node.y();
    const size_t rank = to.size();
    node.require(rank >= 2 && x.size() == rank && y.size() == rank, "matrices have as many dimensions, two or more");
    node.require(x[rank - 1] == y[rank - 2], "the rows of the one are not as long as the columns of the other");
    node.require(to[rank - 2] == x[rank - 2] && to[rank - 1] == y[rank - 1]);
    for (size_t i = 0; i + 2 < rank; i++) {
        node.require((x[i] == to[i] || x[i] == 1) && (y[i] == to[i] || y[i] == 1), "a dimension is neither equal nor 1");
        node.require(to[i] == std::max(x[i], y[i]), "the output is larger than what is broadcast");
    }
}

double work(const Node& node) {
    return static_cast<double>(numbers_of(node.y())) * static_cast<double>(node.x(0).back());
}

std::unique_ptr<Step> make(const Node&, const Placement& at) {
    return std::make_unique<Matmul>(at.x[0], at.x[1], at.y);
}

}  // namespace

const std::vector<OperatorType>& matmul_operators() {
    static const std::vector<OperatorType> types = {
        {"matmul", 2, Has::no, Has::no, {}, Takes::floats, Lies::by_strides, Aliasing::none, check, work, no_layout,
         make},
    };
    return types;
}

}  // namespace sparbor
