#include "winograd.h"

#include <algorithm>
#include <cstring>

namespace sparbor {
namespace {

constexpr size_t kernel = 3, outputs_across = 2;
constexpr size_t numbers = 16;  // of a transformed tile or kernel
constexpr size_t panel_budget = 128 * 1024;  // floats: inputs and products stay in a second cache of 1 MiB
constexpr size_t most_columns = 7 * column_tile;

size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// A half's bits shifted into a float's are the same number 2^-112 times as large; exponent 31 never occurs.
double half_value(uint16_t half) {
    const uint32_t bits = (half & 0x8000u) << 16 | (half & 0x7fffu) << 13;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value * 0x1p112;
}

// Three weights in a line, `step` apart, become four.
void transform_line(const double* from, size_t step, double* to, size_t to_step) {
    const double a = from[0], b = from[step], c = from[2 * step];
    to[0] = a;
    to[to_step] = (a + b + c) / 2;
    to[2 * to_step] = (a - b + c) / 2;
    to[3 * to_step] = c;
}

void transform(const double weights[9], double transformed[numbers]) {
    double columns[4 * kernel];
    for (size_t i = 0; i < kernel; i++) transform_line(weights + i, kernel, columns + i, kernel);
    for (size_t i = 0; i < 4; i++) transform_line(columns + i * kernel, 1, transformed + 4 * i, 1);
}

}  // namespace

bool WinogradConvolution::pays(const Geometry& g) {
    const bool possible = g.kernel_h == 3 && g.kernel_w == 3 && g.stride_h == 1 && g.stride_w == 1 &&
                          g.dilation_h == 1 && g.dilation_w == 1 && g.upsample_h == 1 && g.upsample_w == 1 &&
                          g.groups == 1;
    constexpr int64_t fewest_channels = 16, fewest_pixels = 36, fewest_inputs = 2048;
    constexpr int64_t most_weights = 1 << 17;  // times 64 bytes: from a memory that others use, more come too slowly
    const int64_t pixels = g.out_height * g.out_width;
    return possible && std::min(g.channels, g.out_channels) >= fewest_channels && pixels >= fewest_pixels &&
           g.channels * pixels >= fewest_inputs && g.channels * g.out_channels <= most_weights;
}

struct WinogradConvolution::Unit {
    TileRows rows;
    const float* x;  // the item's planes
    float* y;
};

WinogradConvolution::WinogradConvolution(Value x, Value y, const Geometry& geometry, size_t block,
                                         const float* weights, const uint16_t* halves, const float* scale,
                                         const float* bias, bool relu, std::optional<Activation> activation)
    : x_(x), y_(y), geometry_(geometry), tile_rows_(round_up(geometry.out_height, outputs_across) / outputs_across),
      tile_columns_(round_up(geometry.out_width, outputs_across) / outputs_across), floor_(floor_of(relu)),
      activation_(activation) {
    const size_t channels = geometry.channels, outputs = geometry.out_channels;
    choose_rows();
    columns_ = columns(rows_);
    panel_stride_ = channels * columns_ + column_tile;  // the same pixel of all falls into different lines of a cache
    for (size_t channel = 0; channel < channels; channel++)
        offsets_.push_back(static_cast<uint32_t>(channel * columns_));

    // Block by block of outputs, for each of a tile's numbers what multiplies it. The second number of the second row
    // goes into all four outputs as it is: that is where the bias comes in.
    const size_t padded = round_up(outputs, block);
    weights_.resize(numbers * padded * channels);
    scale_.resize(numbers * padded, 1.0f);
    bias_.resize(numbers * padded, 0.0f);
    constexpr size_t second_of_second = 5;
    for (size_t output = 0; output < outputs; output++) {
        const size_t first = output / block * numbers, lane = output % block;
        if (bias) bias_[(first + second_of_second) * block + lane] = bias[output];
        for (size_t channel = 0; channel < channels; channel++) {
            double one[kernel * kernel], transformed[numbers];
            for (size_t i = 0; i < kernel * kernel; i++) {
                const size_t at = (output * channels + channel) * kernel * kernel + i;
                one[i] = (weights ? weights[at] : half_value(halves[at])) * (scale ? scale[output] : 1.0);
            }
            transform(one, transformed);
            for (size_t i = 0; i < numbers; i++)
                weights_[((first + i) * channels + channel) * block + lane] = static_cast<float>(transformed[i]);
        }
    }
    blocks_ = {weights_.data(), nullptr, scale_.data(), bias_.data(), block, channels, floor_of(false)};
    const double all_columns = static_cast<double>(columns(tile_rows_)) / column_tile;
    work_ = 0.15 * static_cast<double>(numbers * channels * outputs) * all_columns;
}

size_t WinogradConvolution::columns(size_t tile_rows) const { return round_up(tile_rows * tile_columns_, column_tile); }
size_t WinogradConvolution::blocks() const {
    return (geometry_.out_channels + blocks_.block - 1) / blocks_.block;
}

// Of what fits the budget, what leaves the fewest lanes idle.
void WinogradConvolution::choose_rows() {
    const auto in_all = [&](size_t rows) {
        return tile_rows_ / rows * columns(rows) + columns(tile_rows_ % rows);
    };
    rows_ = 1;
    for (size_t rows = 2; rows <= tile_rows_; rows++) {
        if (columns(rows) > most_columns || numbers * geometry_.channels * columns(rows) > panel_budget) break;
        if (in_all(rows) <= in_all(rows_)) rows_ = rows;
    }
}

// The products of a block of outputs, and what the kernels put down on the way to and from a tile.
size_t WinogradConvolution::product_floats() const { return numbers * blocks_.block * columns_; }
size_t WinogradConvolution::own_floats() const {
    return product_floats() + winograd_lines * round_up(columns_ + tile_columns_ + column_tile, column_tile);
}

size_t WinogradConvolution::scratch_floats(const KernelSet&, size_t) const {
    return own_floats() + numbers * panel_stride_;
}

WinogradConvolution::Unit WinogradConvolution::unit(const Call& call, size_t number) const {
    const size_t units = (tile_rows_ + rows_ - 1) / rows_, item = number / units, first = number % units * rows_;
    return {{first, std::min(rows_, tile_rows_ - first), tile_columns_},
            call.data(x_) + item * x_.rows * row_stride(x_.features),
            call.data(y_) + item * y_.rows * row_stride(y_.features)};
}

void WinogradConvolution::prepare(const Call& call, const Unit& unit, size_t first, size_t last, float* own,
                                  float* panels) const {
    for (size_t channel = first; channel < last; channel++)
        call.kernels.winograd->input(geometry_, unit.x + channel * row_stride(x_.features), unit.rows, own,
                                     panels + channel * columns_, panel_stride_);
}

void WinogradConvolution::run_blocks(const Call& call, const Unit& unit, size_t first, size_t last, float* own,
                                     const float* panels) const {
    const size_t block = blocks_.block, plane = row_stride(y_.features);
    const size_t out_row = unit.rows.first * outputs_across, out_width = geometry_.out_width;
    const size_t out_rows = std::min(unit.rows.count * outputs_across, geometry_.out_height - out_row);
    const size_t stride = columns(unit.rows.count), count = stride / column_tile;
    float* const lines = own + product_floats();
    for (size_t at = first; at < last; at++) {
        for (size_t i = 0; i < numbers; i++) {
            const Panel panel{panels + i * panel_stride_, offsets_.data(), 0, 0, count, 0};
            call.kernels.columns->dense(blocks_, at * numbers + i, panel, {own + i * block * stride, stride, block},
                                        nullptr);
        }
        const size_t outputs = std::min(block, geometry_.out_channels - at * block);
        for (size_t i = 0; i < outputs; i++) {
            float* const y = unit.y + (at * block + i) * plane;
            call.kernels.winograd->output(geometry_, own + i * stride, block * stride, unit.rows, floor_, lines, y);
            if (activation_)
                activation_->map(y + out_row * out_width, out_rows * out_width, activation_->a, activation_->b);
        }
    }
}

// Many units: a thread prepares and computes its own. Few: the threads prepare one together and then share its blocks.
void WinogradConvolution::run(const Call& call) const {
    const size_t units = call.batch * ((tile_rows_ + rows_ - 1) / rows_);
    if (units >= 2 * call.threads() || call.threads() == 1)
        return call.split(units, work_ * call.batch, [&](size_t first, size_t last, size_t thread) {
            float* const own = call.scratch(thread);
            for (size_t i = first; i < last; i++) {
                const Unit each = unit(call, i);
                prepare(call, each, 0, geometry_.channels, own, own + own_floats());
                run_blocks(call, each, 0, blocks(), own, own + own_floats());
            }
        });
    for (size_t i = 0; i < units; i++) {
        const Unit each = unit(call, i);
        const double work = work_ * call.batch / units;
        float* const shared = call.scratch() + own_floats();
        call.split(geometry_.channels, work, [&](size_t first, size_t last, size_t thread) {
            prepare(call, each, first, last, call.scratch(thread), shared);
        });
        call.split(blocks(), work, [&](size_t first, size_t last, size_t thread) {
            run_blocks(call, each, first, last, call.scratch(thread), shared);
        });
    }
}

}  // namespace sparbor
