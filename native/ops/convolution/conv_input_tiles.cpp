#include "ops/convolution/conv_input_tiles.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "ops/convolution/packed_input_step.h"
#include "ops/sparse_matrix.h"

namespace sparbor {
namespace {

constexpr size_t floats_per_line = 16;
constexpr size_t small_plane = 64;  // pixels that are not worth several strips
constexpr size_t most_gathers = 2048;

bool reads_planes_as_they_are(const Geometry& g) {
    return g.kernel_h == 1 && g.kernel_w == 1 && g.stride_h == 1 && g.stride_w == 1 && g.upsample_h == 1 &&
           g.upsample_w == 1 && g.pad_top == 0 && g.pad_left == 0 && g.out_height == g.height && g.out_width == g.width;
}

// Finds the fastest way to gather from so many floats.
void classify(Gather& each, int32_t floats) {
    int32_t least = std::numeric_limits<int32_t>::max(), most = 0, start = 0;
    bool in_order = true;
    each.mask = 0;
    for (int32_t i = 0; i < static_cast<int32_t>(column_tile); i++) {
        const int32_t from = each.from[i];
        if (from < 0) continue;
        if (each.mask == 0) start = from - i;
        in_order = in_order && from - i == start;
        least = std::min(least, from);
        most = std::max(most, from);
        each.mask |= 1u << i;
    }
    constexpr int32_t span = 2 * column_tile;
    least = std::max(0, std::min(least, floats - span));  // no plane begins before its memory
    each.kind = in_order ? Gather::in_order : most < least + span ? Gather::near : Gather::anywhere;
    each.base = in_order ? start : least;
}

}  // namespace

ConvInputTiles::ConvInputTiles(const Geometry& geometry, size_t x_stride, Pixels pixels, bool zeros)
    : geometry_(geometry), x_stride_(x_stride), groups_(geometry.groups),
      group_channels_(geometry.channels / geometry.groups), out_height_(geometry.out_height), pixels_(pixels),
      zeros_(zeros), in_place_(!zeros && reads_planes_as_they_are(geometry)) {
    choose_pitch();
    find_copies(pixels == Pixels::in_vectors ? floats_per_line : 1);
    if (rows_need_strips()) find_copies(1);
    choose_rows();
    lay_out();
    if (!in_place_) make_tables();
}

void ConvInputTiles::choose_pitch() {
    const size_t width = geometry_.out_width;
    const size_t aligned = width <= 4 ? 4 : width <= 8 ? 8 : round_up(width, floats_per_line);
    const bool little_waste = 7 * aligned <= 8 * width;
    pitch_ = pixels_ == Pixels::in_vectors && !in_place_ && little_waste ? aligned : width;
}

// Whether so many copies of a small plane would crowd a second cache; then loads that cross lines cost less.
bool ConvInputTiles::rows_need_strips() const {
    return pitch_ < floats_per_line && group_channels_ * channel_floats(out_height_) > packed_budget;
}

// One for each shift that is not whole `alignment`s of another's.
void ConvInputTiles::find_copies(size_t alignment) {
    copies_.clear();
    taps_.clear();
    for (int64_t ky = 0; ky < geometry_.kernel_h; ky++)
        for (int64_t kx = 0; kx < geometry_.kernel_w; kx++) {
            const Shift tap{ky * geometry_.dilation_h - geometry_.pad_top,
                            kx * geometry_.dilation_w - geometry_.pad_left};
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

size_t ConvInputTiles::channel_floats(size_t rows) const {
    size_t floats = 0;
    for (const Copy& copy : copies_) floats += copy.more_rows * pitch_ + columns(rows);
    return spread_apart(floats +
                        (pitch_ % floats_per_line ? floats_per_line : 0));  // rows may be written beyond their end
}

// As many rows as fit the budget, and then as many groups of the convolution.
void ConvInputTiles::choose_rows() {
    rows_ = out_height_;
    const auto too_many = [&] { return group_channels_ * channel_floats(rows_) > packed_budget; };
    while (rows_ * pitch_ > small_plane && rows_ > 1 && too_many()) rows_ -= (rows_ + 7) / 8;
    const size_t whole_lines = floats_per_line / std::gcd(pitch_, floats_per_line);
    if (rows_ < out_height_ && rows_ > whole_lines) rows_ -= rows_ % whole_lines;
    const size_t group_floats = group_channels_ * channel_floats(rows_);
    groups_at_once_ = std::clamp(packed_budget / group_floats, size_t{1}, groups_);
}

void ConvInputTiles::lay_out() {
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
    size_t block_floats = 0;  // of a channel, for a block of columns
    const size_t block = std::min(columns(rows_), widest_block);
    for (const Copy& copy : copies_) block_floats += copy.more_rows * pitch_ + block;
    chunk_shift_ = chunk_shift(std::max(size_t{1}, block_floats / taps_.size()), offsets_.size());
    offsets_.resize(round_up(offsets_.size(), branch_size));
}

ConvInputTiles::Strip ConvInputTiles::strip(size_t chunk, size_t number) const {
    const size_t first_row = number * rows_, first_group = chunk * groups_at_once_;
    return {first_row, std::min(rows_, out_height_ - first_row), first_group,
            std::min(groups_, first_group + groups_at_once_)};
}

void ConvInputTiles::prepare(const Planes& planes, const float* item, const Strip& strip, size_t first, size_t last,
                     float* scratch) const {
    if (in_place_) return;
    if (zeros_) std::memset(scratch + packed_floats(), 0, columns(rows_) * sizeof(float));
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

void ConvInputTiles::make_tables() {
    const size_t vectors = copies_.size() * columns(out_height_) / column_tile;
    if (geometry_.out_width >= int64_t{column_tile} && vectors > most_gathers) return;
    for (size_t number = 0; number < strips(); number++)
        for (const Copy& copy : copies_) tables_.push_back(table(copy, strip(0, number)));
}

std::vector<Gather> ConvInputTiles::table(const Copy& copy, const Strip& strip) const {
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
    for (Gather& each : made) classify(each, static_cast<int32_t>(x_stride_));
    return made;
}

PackedInput ConvInputTiles::packed(const float* item, const Strip& strip, size_t group, const float* scratch) const {
    const size_t count = columns(strip.rows) / column_tile, pixels = strip.rows * pitch_;
    if (in_place_)
        return {item + group * group_channels_ * x_stride_ + strip.first_row * pitch_, offsets_.data(), 0, 0, count,
                chunk_shift_, pixels};
    const size_t channel = (group - strip.first_group) * group_channels_;
    const size_t zeros = zeros_ ? packed_floats() - channel * channel_size_ : 0;
    return {scratch + channel * channel_size_, offsets_.data(), 0, static_cast<uint32_t>(zeros), count, chunk_shift_,
            pixels};
}

bool ConvInputTiles::results_in_place(const Strip& strip) const {
    const size_t first = strip.first_row * pitch_, end = first + strip.rows * pitch_;
    const size_t room = strip.first_row + strip.rows == out_height_ ? round_up(end, column_tile) : end;
    return pitch_ == static_cast<size_t>(geometry_.out_width) && first + columns(strip.rows) <= room;
}

}  // namespace sparbor
