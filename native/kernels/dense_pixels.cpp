// Dense layers of 8 bits over pixels. A tile is some pixels, of one row or of several, and some groups of neurons; what
// they add up to becomes bytes in registers.
#include "byte_ending.h"
#include "dot_sums.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// The windows of consecutive pixels.
class Windows {
public:
    Windows(const PixelRows& io, size_t pixel)
        : io_(io), column_(pixel % io.columns), at_(pixel / io.columns * io.x_row + column_ * io.x_pixel) {}

    size_t place() const { return at_; }
    ALWAYS_INLINE void next() {
        at_ += io_.x_pixel;
        if (++column_ < io_.columns) return;
        column_ = 0;
        at_ += io_.x_row - io_.columns * io_.x_pixel;
    }

private:
    const PixelRows& io_;
    size_t column_, at_;
};

constexpr Range range = Range::bytes;

template <bool mapped, size_t pixels, size_t panels>
ALWAYS_INLINE void end_tile(const DenseByteLayer& layer, const DotSums<pixels, panels>& sums, const PixelRows& io,
                            const Requantization& to, const Ending& ending, size_t first_pixel, size_t group) {
    constexpr int32_t least = FourInputs<range>::least_input;
    const size_t neuron = group * neuron_block, at = first_pixel * to.outputs + neuron;
    const auto sum = [&](size_t pixel, size_t panel, size_t part) __attribute__((always_inline)) {
        const Integers so_far = sums.part(pixel, panel, part);
        if constexpr (least == 0) return so_far;
        return so_far - load(layer.sums + neuron + panel * neuron_block + part * lanes) * everywhere(least);
    };
    store_blocks<pixels, panels, mapped>(to, ending, neuron, sum, io.residual ? io.residual + at : nullptr, io.y + at);
}

// Pixels of one row or of several.
template <bool mapped, size_t pixels, size_t panels>
void tile(const DenseByteLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to,
          size_t first_pixel, size_t group) {
    Windows windows(io, first_pixel);
    const size_t start = windows.place();
    size_t apart[pixels];
    for_constants<pixels>([&](auto pixel) __attribute__((always_inline)) {
        apart[pixel] = windows.place() - start;
        windows.next();
    });
    const auto sums = dot_sums<range, pixels, panels>(layer, group, io.x + start, apart, places);
    end_tile<mapped>(layer, sums, io, to, Ending(to), first_pixel, group);
}

// As many panels as a tile has stay in a near cache while all pixels meet them.
template <bool mapped>
void all_pixels(const DenseByteLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to,
                size_t first, size_t last) {
    constexpr size_t block = panels_of_tile<most_dot_rows>();
    for (size_t group = first; group < last; group += block) {
        const size_t end = group + block < last ? group + block : last;
        in_tiles<most_dot_rows>(io.rows * io.columns, [&]<size_t pixels>(size_t pixel) {
            by_panels<pixels>(group, end, [&]<size_t panels>(size_t at) {
                tile<mapped, pixels, panels>(layer, places, io, to, pixel, at);
            });
        });
    }
}

#if defined(__AVX512BW__)

// Sums that end beside those of the next tile: half as many as there are registers, so that a processor looks that far
// ahead, and nothing is called in between.
constexpr size_t most_panels = 4, line_pixels = 64, near_bytes = 16384;

// So many pixels of one row.
template <size_t panels>
void line(const DenseByteLayer& layer, const uint32_t* places, const PixelRows& given, const Requantization& given_to,
          size_t row, size_t column, size_t count, size_t group) {
    constexpr size_t most = panels > 2 ? 4 : 8;
    const PixelRows io = given;
    const Requantization to = given_to;
    const Ending ending(to);
    const uint8_t* x = io.x + row * io.x_row + column * io.x_pixel;
    size_t pixel = row * io.columns + column;
    const auto some = [&]<size_t pixels>(size_t) __attribute__((always_inline)) {
        const auto sums = sums_of<range, pixels, panels>(layer, group, x, EquallyApart{io.x_pixel}, places);
        end_tile<false>(layer, sums, io, to, ending, pixel, group);
    };
    for (; count >= most; count -= most, pixel += most, x += most * io.x_pixel) some.template operator()<most>(0);
    by_rows<most - 1>(0, count, some);
}

// Lines meet as many panels as stay in the first cache, so that what they write is complete while it is there as well.
void by_lines(const DenseByteLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to,
              size_t first, size_t last) {
    const size_t near = near_bytes / (layer.runs * layer.fours * dot_bytes);
    const size_t block = near < most_panels ? most_panels : near;
    for (size_t group = first; group < last; group += block)
        for (size_t row = 0; row < io.rows; row++)
            for (size_t column = 0; column < io.columns; column += line_pixels) {
                const size_t left = io.columns - column, count = left < line_pixels ? left : line_pixels;
                in_tiles<most_panels>(last - group < block ? last - group : block, [&]<size_t panels>(size_t at) {
                    line<panels>(layer, places, io, to, row, column, count, group + at);
                });
            }
}

#endif

}  // namespace

void dense_pixels(const DenseByteLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to,
                  size_t first, size_t last) {
#if defined(__AVX512BW__)
    if (!to.map && io.columns >= 4) return by_lines(layer, places, io, to, first, last);
#endif
    if (to.map) all_pixels<true>(layer, places, io, to, first, last);
    else all_pixels<false>(layer, places, io, to, first, last);
}

}  // namespace sparbor::SPARBOR_KERNELS
