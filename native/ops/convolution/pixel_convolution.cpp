#include "ops/convolution/pixel_convolution.h"

#include <cstring>

namespace sparbor {
namespace {

constexpr size_t behind = 64;              // readable bytes
constexpr size_t cached_input = 1 << 17;   // bytes of a band that stay in a second cache beside weights
constexpr size_t cached_weights = 1 << 19;
constexpr int64_t line_pixels = 64;        // that a single row is cut into

constexpr int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

size_t as_size(int64_t number) { return static_cast<size_t>(number); }

bool is_padded(const Geometry& g) {
    return g.pad_top > 0 || g.pad_left > 0 || g.pad_bottom > 0 || g.pad_right > 0;
}

// A kernel of one place and stride 1 over all of the planes.
bool goes_pixel_by_pixel(const Geometry& g) {
    return g.kernel_h == 1 && g.kernel_w == 1 && g.out_height == g.height && g.out_width == g.width && !is_padded(g);
}

}  // namespace

PixelConvolution::PixelConvolution(const Placement& at, const Geometry& geometry, uint8_t filler, size_t blocks,
                                   size_t weight_bytes, double work)
    : geometry_(geometry), x_(at.x[0].offset), y_(at.y.offset), residual_(at.x.back().offset),
      has_residual_(at.x.size() == 2), padded_(is_padded(geometry)), filler_(filler), items_(at.y.shape[0]),
      one_row_(goes_pixel_by_pixel(geometry)), blocks_(blocks),
      weight_parts_(std::clamp<size_t>(weight_bytes / cached_weights, 1, blocks)), work_(work) {
    if (one_row_) see_one_row();
    lines_ = as_size(one_row_ ? divided_up(geometry_.out_width, line_pixels) : geometry_.out_height);
    pixels_ = as_size(geometry_.out_height * geometry_.out_width);
    const int64_t width = padded_ ? geometry_.width + geometry_.pad_left + geometry_.pad_right : geometry_.width;
    row_pitch_ = as_size(width * geometry_.channels);
    band_lines_ = 1;
    const auto fits = [&](size_t lines) { return as_size(input_rows(lines)) * row_pitch_ <= cached_input; };
    while (band_lines_ < lines_ && fits(band_lines_ + 1)) band_lines_++;
}

// The pixels of all items follow each other, so they can be one row of one item.
void PixelConvolution::see_one_row() {
    geometry_.width = geometry_.out_width = static_cast<int64_t>(items_) * geometry_.height * geometry_.width;
    geometry_.height = geometry_.out_height = geometry_.stride_h = geometry_.stride_w = 1;
    items_ = 1;
}

int64_t PixelConvolution::input_rows(size_t lines) const {
    return (static_cast<int64_t>(lines) - 1) * geometry_.stride_h + (geometry_.kernel_h - 1) * geometry_.dilation_h + 1;
}

size_t PixelConvolution::scratch_floats() const {
    if (!padded_) return 0;
    return round_up(as_size(input_rows(band_lines_)) * row_pitch_ + behind, sizeof(float)) / sizeof(float);
}

// Enough of them for the threads, if the bands that a cache holds are too few.
PixelConvolution::Units PixelConvolution::units(size_t threads) const {
    Units units{ceil_div(lines_, band_lines_), weight_parts_};
    if (threads == 1) return units;
    const size_t enough = 2 * threads;
    units.bands = std::min(lines_, std::max(units.bands, ceil_div(enough, items_)));
    units.parts = std::min(blocks_, std::max(units.parts, ceil_div(enough, items_ * units.bands)));
    return units;
}

PixelConvolution::Band PixelConvolution::band(size_t number, size_t bands) const {
    const size_t of_item = number % bands;
    return {number / bands, lines_ * of_item / bands, lines_ * (of_item + 1) / bands};
}

void PixelConvolution::run(const Call& call) const {
    const Units of = units(call.threads());
    call.split(items_ * of.bands * of.parts, work_, [&](size_t unit, size_t last, size_t thread) {
        auto* const padded = reinterpret_cast<uint8_t*>(call.scratch(thread));
        size_t known = SIZE_MAX;  // the band that has been padded
        for (; unit < last; unit++) {
            const size_t number = unit / of.parts, part = unit % of.parts;
            const Band some = band(number, of.bands);
            if (padded_ && number != known) {
                pad(reinterpret_cast<uint8_t*>(call.memory()) + x_ + some.item * as_size(item_bytes()), some, padded);
                known = number;
            }
            compute(call, rows_of(call, some, padded), blocks_ * part / of.parts, blocks_ * (part + 1) / of.parts);
        }
    });
}

// Copies the rows of x that a band reads, with the filler around them; negative padding leaves some out.
void PixelConvolution::pad(const uint8_t* item, const Band& band, uint8_t* to) const {
    const Geometry& g = geometry_;
    const int64_t width = g.width + g.pad_left + g.pad_right;
    const int64_t before = std::clamp<int64_t>(g.pad_left, 0, width);
    const int64_t left_out = std::clamp<int64_t>(-g.pad_left, 0, g.width);
    const int64_t kept = std::min(g.width - left_out, width - before);
    const auto bytes = [&](int64_t pixels) { return as_size(pixels * g.channels); };
    const int64_t first = static_cast<int64_t>(band.first) * g.stride_h - g.pad_top;
    for (int64_t row = first; row < first + input_rows(band.last - band.first); row++, to += row_pitch_) {
        if (row < 0 || row >= g.height) {
            std::memset(to, filler_, row_pitch_);
            continue;
        }
        std::memset(to, filler_, bytes(before));
        std::memcpy(to + bytes(before), item + bytes(row * g.width + left_out), bytes(kept));
        std::memset(to + bytes(before + kept), filler_, bytes(width - before - kept));
    }
}

PixelRows PixelConvolution::rows_of(const Call& call, const Band& band, const uint8_t* padded) const {
    const Geometry& g = geometry_;
    const size_t outputs = as_size(g.out_channels), out_pitch = as_size(g.out_width) * outputs;
    PixelRows rows{padded, as_size(g.stride_w * g.channels), as_size(g.stride_h) * row_pitch_, nullptr, nullptr,
                   band.last - band.first, as_size(g.out_width)};
    auto* const memory = reinterpret_cast<uint8_t*>(call.memory());
    size_t to = band.item * pixels_ * outputs + band.first * out_pitch;
    const uint8_t* const item = memory + x_ + band.item * as_size(item_bytes());
    if (one_row_) {
        const size_t pixel = band.first * line_pixels;
        rows.x = item + pixel * rows.x_pixel;
        rows.rows = 1;
        rows.columns = std::min(band.last * line_pixels, pixels_) - pixel;
        to = pixel * outputs;
    } else if (!padded_) {
        rows.x = item + (static_cast<int64_t>(band.first) * g.stride_h - g.pad_top) * static_cast<int64_t>(row_pitch_) -
                 g.pad_left * g.channels;
    }
    rows.y = memory + y_ + to;
    if (has_residual_) rows.residual = memory + residual_ + to;
    return rows;
}

}  // namespace sparbor
