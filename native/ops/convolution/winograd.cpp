#include "ops/convolution/winograd.h"

#include <algorithm>
#include <limits>

namespace sparbor {
namespace {

constexpr size_t taps = 9, outputs_across = 2;
constexpr size_t numbers = 16;  // of a transformed tile or kernel
constexpr size_t most_columns = 7 * column_tile;

// Row-major weights in blocks of outputs: for each block a row of `row` weights, by channels and outputs, for each tap.
LaidOutWeights in_blocks(const WeightArray& weights, size_t outputs, size_t channels, size_t block, size_t row) {
    LaidOutWeights blocks(weights.type, round_up(outputs, block) / block * taps * row);
    with_numbers(weights, [&]<class Number>(const Number* numbers) {
        for (size_t output = 0; output < outputs; output++)
            for (size_t channel = 0; channel < channels; channel++)
                for (size_t tap = 0; tap < taps; tap++)
                    blocks.as<Number>()[(output / block * taps + tap) * row + channel * block + output % block] =
                        numbers[(output * channels + channel) * taps + tap];
    });
    return blocks;
}

}  // namespace

WinogradWeights::WinogradWeights(size_t block, const Geometry& geometry, const FilterArrays& arrays)
    : block(block), row(spread_apart(geometry.channels * block)),
      weights(in_blocks(arrays.weights, geometry.out_channels, geometry.channels, block, row)) {
    const size_t outputs = geometry.out_channels;
    scale.resize(numbers * round_up(outputs, block), 1.0f);
    bias.resize(scale.size(), 0.0f);
    for (size_t output = 0; output < outputs; output++) {
        const size_t first = output / block * numbers * block + output % block;
        constexpr size_t second_of_second = 5;  // goes into all four outputs as it is, and so takes the bias
        if (arrays.bias) bias[first + second_of_second * block] = arrays.bias[output];
        for (size_t i = 0; arrays.scale && i < numbers; i++) scale[first + i * block] = arrays.scale[output];
    }
}

WinogradConvolution::WinogradConvolution(const Matrix& x, const Matrix& y, const Geometry& geometry,
                                         std::shared_ptr<const WinogradWeights> weights, const Ending& ending)
    : PackedInputStep(x.rows / x.item_rows), x_(x), y_(y), geometry_(geometry),
      tile_rows_(round_up(geometry.out_height, outputs_across) / outputs_across),
      tile_columns_(round_up(geometry.out_width, outputs_across) / outputs_across), weights_(std::move(weights)),
      clamp_min_(ending.clamp_min), activation_(ending.activation) {
    const size_t channels = geometry.channels, outputs = geometry.out_channels;
    choose_rows();
    columns_ = columns(rows_);
    packed_stride_ = spread_apart(channels * columns_);
    for (size_t channel = 0; channel < channels; channel++)
        offsets_.push_back(static_cast<uint32_t>(channel * columns_));
    const double all_columns = static_cast<double>(columns(tile_rows_)) / column_tile;
    work_ = 0.15 * static_cast<double>(numbers * channels * outputs) * all_columns;
}

// Each time anew: a layer's transformed weights are 3.6 times as large as halves, and would come from a third cache.
void WinogradConvolution::transform(const Winograd& winograd, size_t block, float* to) const {
    const size_t start = block * taps * weights_->row;
    winograd.weights(weights_->weights.array(start), weights_->row, to);
}

size_t WinogradConvolution::columns(size_t tile_rows) const { return round_up(tile_rows * tile_columns_, column_tile); }
size_t WinogradConvolution::block_count() const {
    return round_up(geometry_.out_channels, weights_->block) / weights_->block;
}

// Of what fits the budget, what leaves the fewest lanes idle.
void WinogradConvolution::choose_rows() {
    const auto in_all = [&](size_t rows) {
        return tile_rows_ / rows * columns(rows) + columns(tile_rows_ % rows);
    };
    rows_ = 1;
    for (size_t rows = 2; rows <= tile_rows_; rows++) {
        if (columns(rows) > most_columns || numbers * geometry_.channels * columns(rows) > packed_budget) break;
        if (in_all(rows) <= in_all(rows_)) rows_ = rows;
    }
}

size_t WinogradConvolution::packed_floats() const { return numbers * packed_stride_; }
size_t WinogradConvolution::product_floats() const { return numbers * weights_->block * columns_; }
size_t WinogradConvolution::line_floats() const {
    return winograd_lines * winograd_line(columns_, tile_columns_);
}

// The products of a block of outputs, what the kernels put down on the way to and from a tile, a block's weights.
size_t WinogradConvolution::own_floats() const {
    return product_floats() + line_floats() + numbers * weights_->row;
}

size_t WinogradConvolution::item_units() const { return round_up(tile_rows_, rows_) / rows_; }

TileRows WinogradConvolution::rows(size_t unit) const {
    const size_t first = unit % item_units() * rows_;
    return {first, std::min(rows_, tile_rows_ - first), tile_columns_};
}

void WinogradConvolution::prepare(const Call& call, size_t unit, size_t first, size_t last, float* own,
                                  float* packed) const {
    const float* const x = call.data(x_, unit / item_units());
    const TileRows part = rows(unit);
    float* const lines = own + product_floats();
    for (size_t channel = first; channel < last; channel++)
        call.kernels.winograd->input(geometry_, x + channel * x_.stride, part, lines,
                                     packed + channel * columns_, packed_stride_);
}

// A block's products, `stride` columns for each output of each number, to the start of `own`.
void WinogradConvolution::multiply(const Call& call, size_t block, size_t stride, const float* packed,
                                   float* own) const {
    float* const weights = own + product_floats() + line_floats();
    transform(*call.kernels.winograd, block, weights);
    for (size_t i = 0; i < numbers; i++) {
        const size_t first = (block * numbers + i) * weights_->block;
        const DenseBlocks layer{{WeightType::floats, weights + i * weights_->row},
                                weights_->scale.data() + first,
                                weights_->bias.data() + first,
                                weights_->block,
                                static_cast<size_t>(geometry_.channels),
                                -std::numeric_limits<float>::infinity()};
        const PackedInput inputs{packed + i * packed_stride_, offsets_.data(), 0, 0, stride / column_tile, 0, stride};
        call.kernels.columns->dense(layer, 0, inputs, {own + i * weights_->block * stride, stride, weights_->block},
                                    nullptr);
    }
}

void WinogradConvolution::compute(const Call& call, size_t unit, size_t first, size_t last, float* own,
                                  const float* packed) const {
    const TileRows part = rows(unit);
    float* const planes = call.data(y_, unit / item_units());
    const size_t plane = y_.stride;
    const size_t out_row = part.first * outputs_across, out_width = geometry_.out_width;
    const size_t out_rows = std::min(part.count * outputs_across, geometry_.out_height - out_row);
    const size_t stride = columns(part.count);
    float* const lines = own + product_floats();
    for (size_t block = first; block < last; block++) {
        multiply(call, block, stride, packed, own);
        const size_t outputs = std::min(weights_->block, geometry_.out_channels - block * weights_->block);
        for (size_t i = 0; i < outputs; i++) {
            float* const y = planes + (block * weights_->block + i) * plane;
            call.kernels.winograd->output(geometry_, own + i * stride, weights_->block * stride, part, clamp_min_,
                                          lines, y);
            if (activation_)
                activation_->map(y + out_row * out_width, out_rows * out_width, activation_->a, activation_->b);
        }
    }
}

}  // namespace sparbor
