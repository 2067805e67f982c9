#include "convolution.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

namespace sparbor {
namespace {

constexpr size_t floats_per_line = 16;
constexpr size_t panel_budget = 128 * 1024;  // floats of a strip: well inside a second cache of 1 MiB
constexpr size_t small_plane = 64;           // pixels that are not worth several strips

constexpr size_t most_gathers = 2048;

size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// A channel's floats such that the same pixel of all channels does not fall into the same lines of a cache.
size_t spread(size_t floats) {
    const size_t lines = round_up(floats, floats_per_line) / floats_per_line;
    return (lines % 2 == 0 ? lines + 1 : lines) * floats_per_line;
}

bool reads_planes_as_they_are(const Geometry& g) {
    return g.kernel_h == 1 && g.kernel_w == 1 && g.stride_h == 1 && g.stride_w == 1 && g.upsample_h == 1 &&
           g.upsample_w == 1 && g.pad_top == 0 && g.pad_left == 0 && g.out_height == g.height && g.out_width == g.width;
}

}  // namespace

Strips::Strips(const Geometry& geometry, size_t x_stride, Pixels pixels, bool zeros)
    : geometry_(geometry), x_stride_(x_stride), groups_(geometry.groups),
      group_channels_(geometry.channels / geometry.groups), out_height_(geometry.out_height), pixels_(pixels), zeros_(zeros),
      in_place_(!zeros && reads_planes_as_they_are(geometry)) {
    choose_pitch();
    find_copies(pixels == Pixels::in_vectors ? floats_per_line : 1);
    if (rows_need_strips()) find_copies(1);
    choose_rows();
    lay_out();
    if (!in_place_) make_tables();
}

void Strips::choose_pitch() {
    const size_t width = geometry_.out_width;
    const size_t aligned = width <= 4 ? 4 : width <= 8 ? 8 : round_up(width, floats_per_line);
    const bool little_waste = 7 * aligned <= 8 * width;
    pitch_ = pixels_ == Pixels::in_vectors && !in_place_ && little_waste ? aligned : width;
}

// Whether so many copies of a small plane would crowd a second cache; then loads that cross lines cost less.
bool Strips::rows_need_strips() const {
    return pitch_ < floats_per_line && group_channels_ * channel_floats(out_height_) > panel_budget;
}

// One for each shift that is not whole `alignment`s of another's.
void Strips::find_copies(size_t alignment) {
    copies_.clear();
    taps_.clear();
    for (int64_t ky = 0; ky < geometry_.kernel_h; ky++)
        for (int64_t kx = 0; kx < geometry_.kernel_w; kx++) {
            const Shift tap{ky * geometry_.dilation_h - geometry_.pad_top, kx * geometry_.dilation_w - geometry_.pad_left};
            size_t shift = 0;
            const auto serves = [&](const Copy& copy) {
                const int64_t below = tap.row - copy.shift.row;
                shift = below / geometry_.stride_h;
                return copy.shift.column == tap.column && below % geometry_.stride_h == 0 &&
                       shift * pitch_ % alignment == 0;
            };
            auto copy = std::find_if(copies_.begin(), copies_.end(), serves);
            if (copy == copies_.end()) {
                copy = copies_.insert(copy, {tap, 0, 0});
                shift = 0;
            }
            copy->more_rows = std::max(copy->more_rows, shift);
            taps_.push_back({static_cast<size_t>(copy - copies_.begin()), shift});
        }
}

size_t Strips::channel_floats(size_t rows) const {
    size_t floats = 0;
    for (const Copy& copy : copies_) floats += copy.more_rows * pitch_ + columns(rows);
    return spread(floats + (pitch_ % floats_per_line ? floats_per_line : 0));  // rows may be written beyond their end
}

// As many rows as fit the budget, and then as many groups of the convolution.
void Strips::choose_rows() {
    rows_ = out_height_;
    while (rows_ * pitch_ > small_plane && rows_ > 1 && group_channels_ * channel_floats(rows_) > panel_budget) rows_ -= (rows_ + 7) / 8;
    const size_t whole_lines = floats_per_line / std::gcd(pitch_, floats_per_line);
    if (rows_ < out_height_ && rows_ > whole_lines) rows_ -= rows_ % whole_lines;
    const size_t group_floats = group_channels_ * channel_floats(rows_);
    groups_at_once_ = std::clamp(panel_budget / group_floats, size_t{1}, groups_);
}

void Strips::lay_out() {
    channel_size_ = in_place_ ? x_stride_ : channel_floats(rows_);
    size_t floats = 0;
    for (Copy& copy : copies_) {
        copy.offset = floats;
        floats += copy.more_rows * pitch_ + columns(rows_);
    }
    for (size_t channel = 0; channel < group_channels_; channel++)
        for (const Tap& tap : taps_)
            offsets_.push_back(static_cast<uint32_t>(channel * channel_size_ + copies_[tap.copy].offset +
                                                     tap.shift * pitch_));
    size_t block_floats = 0;  // of a channel, for four vectors of columns
    const size_t block = std::min(columns(rows_), 4 * column_tile);
    for (const Copy& copy : copies_) block_floats += copy.more_rows * pitch_ + block;
    chunk_shift_ = chunk_shift(std::max(size_t{1}, block_floats / taps_.size()), offsets_.size());
    offsets_.resize(round_up(offsets_.size(), branch_size));
}

Strips::Strip Strips::strip(size_t chunk, size_t number) const {
    const size_t first_row = number * rows_, first_group = chunk * groups_at_once_;
    return {first_row, std::min(rows_, out_height_ - first_row), first_group,
            std::min(groups_, first_group + groups_at_once_)};
}

void Strips::prepare(const Planes& planes, const float* item, const Strip& strip, size_t first, size_t last,
                     float* scratch) const {
    if (in_place_) return;
    if (zeros_) std::memset(scratch + panel_floats(), 0, columns(rows_) * sizeof(float));
    const float* const planes_from = item + (strip.first_group * group_channels_ + first) * x_stride_;
    float* const to = scratch + first * channel_size_;
    if (!tables_.empty()) {
        const auto* table = &tables_[strip.first_row / rows_ * copies_.size()];
        for (const Copy& copy : copies_) {
            planes.gather(table->data(), table->size(), planes_from, x_stride_, last - first, to + copy.offset,
                          channel_size_);
            table++;
        }
        return;
    }
    const int64_t above = static_cast<int64_t>(strip.first_row) * geometry_.stride_h;
    for (size_t channel = 0; channel < last - first; channel++)
        for (const Copy& copy : copies_)
            planes.shift(geometry_, planes_from + channel * x_stride_, {copy.shift.row + above, copy.shift.column},
                         strip.rows + copy.more_rows, pitch_, to + channel * channel_size_ + copy.offset);
}

void Strips::make_tables() {
    const size_t vectors = copies_.size() * columns(out_height_) / column_tile;
    if (geometry_.out_width >= int64_t{column_tile} && vectors > most_gathers) return;
    for (size_t number = 0; number < strips(); number++)
        for (const Copy& copy : copies_) tables_.push_back(table(copy, strip(0, number)));
}

std::vector<Gather> Strips::table(const Copy& copy, const Strip& strip) const {
    const Geometry& g = geometry_;
    const size_t rows = strip.rows + copy.more_rows;
    std::vector<Gather> made(round_up(rows * pitch_, column_tile) / column_tile);
    for (size_t i = 0; i < made.size() * column_tile; i++) {
        const int64_t row = copy.shift.row + static_cast<int64_t>(strip.first_row + i / pitch_) * g.stride_h;
        const int64_t column = copy.shift.column + static_cast<int64_t>(i % pitch_) * g.stride_w;
        const bool inside = i < rows * pitch_ && static_cast<int64_t>(i % pitch_) < g.out_width && row >= 0 &&
                            column >= 0 && row < g.height * g.upsample_h && column < g.width * g.upsample_w &&
                            row % g.upsample_h == 0 && column % g.upsample_w == 0;
        made[i / column_tile].from[i % column_tile] =
            inside ? static_cast<int32_t>(row / g.upsample_h * g.width + column / g.upsample_w) : -1;
    }
    for (Gather& each : made) {
        int32_t least = std::numeric_limits<int32_t>::max(), most = 0;
        for (const int32_t from : each.from) {
            if (from >= 0) least = std::min(least, from);
            most = std::max(most, from);
        }
        least = std::min(least, static_cast<int32_t>(x_stride_ - 2 * column_tile));  // rows are whole branches
        each.base = most < least + static_cast<int32_t>(2 * column_tile) ? least : -1;
    }
    return made;
}

Panel Strips::panel(const float* item, const Strip& strip, size_t group, const float* scratch) const {
    const size_t count = columns(strip.rows) / column_tile, pixels = strip.rows * pitch_;
    if (in_place_)
        return {item + group * group_channels_ * x_stride_ + strip.first_row * pitch_, offsets_.data(), 0, 0, count,
                chunk_shift_, pixels};
    const size_t channel = (group - strip.first_group) * group_channels_;
    const size_t zeros = zeros_ ? panel_floats() - channel * channel_size_ : 0;
    return {scratch + channel * channel_size_, offsets_.data(), 0, static_cast<uint32_t>(zeros), count, chunk_shift_,
            pixels};
}

bool Strips::results_in_place(const Strip& strip) const {
    return pitch_ == static_cast<size_t>(geometry_.out_width) &&
           (strip.rows * pitch_ % column_tile == 0 || strip.first_row + strip.rows == out_height_);
}

struct Convolution::Unit {
    Strips::Strip strip;
    const float* x;  // the item's planes
    float* y;
};

Convolution::Convolution(Value x, Value y, const Geometry& geometry, Strips::Pixels pixels, bool zeros,
                         size_t tile_outputs, size_t decoded_floats, double work, std::optional<Activation> activation)
    : x_(x), y_(y), geometry_(geometry), strips_(geometry, row_stride(x.features), pixels, zeros), tile_outputs_(tile_outputs),
      group_outputs_(geometry.out_channels / geometry.groups), decoded_floats_(round_up(decoded_floats, floats_per_line)),
      work_(0.15 * work * static_cast<double>(strips_.columns(y.features) / column_tile)), activation_(activation) {
    group_tiles_ = round_up(group_outputs_, tile_outputs) / tile_outputs;
}

// What is decoded, the results of a tile, the panel.
size_t Convolution::scratch_floats(const KernelSet&, size_t) const {
    return decoded_floats_ + tile_outputs_ * strips_.most_columns() + strips_.scratch_floats();
}

Convolution::Unit Convolution::unit(const Call& call, size_t number) const {
    const size_t strips = strips_.strips(), chunks = strips_.chunks();
    const size_t item = number / (strips * chunks);
    return {strips_.strip(number / strips % chunks, number % strips),
            call.data(x_) + item * x_.rows * row_stride(x_.features),
            call.data(y_) + item * y_.rows * row_stride(y_.features)};
}

size_t Convolution::tiles(const Unit& unit) const {
    return (unit.strip.last_group - unit.strip.first_group) * group_tiles_;
}

void Convolution::run_tiles(const Call& call, const Unit& unit, size_t first, size_t last, const float* panel,
                            float* scratch) const {
    const size_t plane = row_stride(y_.features), pitch = strips_.pitch(), width = geometry_.out_width;
    const size_t pixels = unit.strip.rows * width, stride = strips_.columns(unit.strip.rows);
    const bool in_place = strips_.results_in_place(unit.strip);
    float* const results = scratch + decoded_floats_;
    for (size_t tile = first; tile < last; tile++) {
        const size_t group = unit.strip.first_group + tile / group_tiles_, within = tile % group_tiles_;
        const size_t outputs = std::min(tile_outputs_, group_outputs_ - within * tile_outputs_);
        float* const y = unit.y + (group * group_outputs_ + within * tile_outputs_) * plane + unit.strip.first_row * width;
        const Tile to = in_place ? Tile{y, plane, outputs} : Tile{results, stride, outputs};
        compute(call.kernels, group * group_tiles_ + within, strips_.panel(unit.x, unit.strip, group, panel), to,
                scratch);
        for (size_t i = 0; i < outputs; i++) {
            if (!in_place)
                call.kernels.planes->narrow(results + i * stride, pitch, width, unit.strip.rows, y + i * plane);
            if (activation_) activation_->map(y + i * plane, pixels, activation_->a, activation_->b);
        }
    }
}

// Many strips: a thread prepares and computes its own. Few: the threads prepare one together and then share its tiles.
void Convolution::run(const Call& call) const {
    const size_t units = call.batch * strips_.strips() * strips_.chunks();
    const size_t panel = decoded_floats_ + tile_outputs_ * strips_.most_columns();
    if (units >= 2 * call.threads() || call.threads() == 1)
        return call.split(units, work_ * call.batch, [&](size_t first, size_t last, size_t thread) {
            float* const scratch = call.scratch(thread);
            for (size_t i = first; i < last; i++) {
                const Unit each = unit(call, i);
                strips_.prepare(*call.kernels.planes, each.x, each.strip, 0, strips_.channels(each.strip),
                                scratch + panel);
                run_tiles(call, each, 0, tiles(each), scratch + panel, scratch);
            }
        });
    for (size_t i = 0; i < units; i++) {
        const Unit each = unit(call, i);
        const double work = work_ * call.batch / units;
        float* const shared = call.scratch() + panel;
        call.split(strips_.channels(each.strip), work, [&](size_t first, size_t last, size_t) {
            strips_.prepare(*call.kernels.planes, each.x, each.strip, first, last, shared);
        });
        call.split(tiles(each), work, [&](size_t first, size_t last, size_t thread) {
            run_tiles(call, each, first, last, shared, call.scratch(thread));
        });
    }
}

SparseConvolution::SparseConvolution(Value x, Value y, const Geometry& geometry, std::unique_ptr<SparseMatrix> matrix,
                                     std::optional<Activation> activation)
    : Convolution(x, y, geometry, Strips::Pixels::in_vectors, matrix->layer().padded, group_size,
                  matrix->most_slots() * sizeof(Synapses) / sizeof(float),
                  static_cast<double>(matrix->slots() * group_size), activation),
      matrix_(std::move(matrix)) {}

void SparseConvolution::compute(const KernelSet& kernels, size_t tile, const Panel& panel, const Tile& to,
                                float* decoded) const {
    kernels.columns->sparse(matrix_->layer(), tile, panel, to, reinterpret_cast<Synapses*>(decoded));
}

namespace {

size_t fan_in_of(const Geometry& g) { return g.channels / g.groups * g.kernel_h * g.kernel_w; }

size_t padded_outputs(const Geometry& g, size_t block) { return g.groups * round_up(g.out_channels / g.groups, block); }

size_t padded_weights(const Geometry& g, size_t block) { return padded_outputs(g, block) * fan_in_of(g); }

}  // namespace

// Lanes that are outputs leave no pixel unused, but the results must be turned.
Lanes best_lanes(const Geometry& g, const KernelSet& kernels) {
    const double fan_in = fan_in_of(g), pixels = g.out_height * g.out_width;
    const double by_outputs = pixels * padded_outputs(g, group_size) * (fan_in + kernels.outputs->turning);
    const double by_pixels =
        round_up(g.out_height * g.out_width, column_tile) * padded_outputs(g, kernels.columns->block) * fan_in;
    return by_outputs * kernels.outputs->cost < by_pixels ? Lanes::outputs : Lanes::pixels;
}

DenseMatrix::DenseMatrix(const Geometry& geometry, size_t block, const float* weights, const uint16_t* halves,
                         const float* scale, const float* bias, bool relu)
    : weights_(weights ? padded_weights(geometry, block) : 0), halves_(halves ? padded_weights(geometry, block) : 0),
      scale_(padded_outputs(geometry, block), 1.0f), bias_(padded_outputs(geometry, block), 0.0f) {
    const size_t outputs = geometry.out_channels / geometry.groups, padded = round_up(outputs, block);
    const size_t fan_in = fan_in_of(geometry);
    for (size_t output = 0; output < static_cast<size_t>(geometry.out_channels); output++) {
        const size_t at = output / outputs * padded + output % outputs;
        const size_t start = at / block * block * fan_in + at % block;
        for (size_t k = 0; k < fan_in; k++)
            if (weights) weights_.data()[start + k * block] = weights[output * fan_in + k];
            else halves_.data()[start + k * block] = halves[output * fan_in + k];
        if (scale) scale_[at] = scale[output];
        if (bias) bias_[at] = bias[output];
    }
    blocks_ = {weights ? weights_.data() : nullptr, weights ? nullptr : halves_.data(), scale_.data(), bias_.data(),
               block, fan_in, floor_of(relu)};
}

DenseConvolution::DenseConvolution(Value x, Value y, const Geometry& geometry, Lanes lanes,
                                   std::unique_ptr<DenseMatrix> matrix, size_t floats,
                                   std::optional<Activation> activation)
    : Convolution(x, y, geometry, lanes == Lanes::pixels ? Strips::Pixels::in_vectors : Strips::Pixels::one_by_one,
                  false, matrix->blocks().block, floats,
                  static_cast<double>(geometry.out_channels * matrix->blocks().fan_in), activation),
      lanes_(lanes), matrix_(std::move(matrix)) {}

void DenseConvolution::compute(const KernelSet& kernels, size_t tile, const Panel& panel, const Tile& to,
                               float* floats) const {
    const auto dense = lanes_ == Lanes::outputs ? kernels.outputs->dense : kernels.columns->dense;
    dense(matrix_->blocks(), tile, panel, to, floats);
}

}  // namespace sparbor
