// Layers of quads over pixels. A tile of pixels shares each quad, and their results become bytes in registers.
#include "byte_ending.h"
#include "quad_walk.h"
#include "row_tiles.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t most_pixels = most_tile_rows<Range::bytes>;

// Some pixels, whose inputs lie apart(pixel) from the first one's, and whose outputs follow each other.
template <bool mapped, size_t pixels, class Apart>
void tile(const QuadLayer& layer, const uint32_t* places, const PixelRows& io, size_t row, size_t column,
          const Apart& apart, const Requantization& to, size_t first, size_t last) {
    const size_t at = (row * io.columns + column) * to.outputs;
    const Ending ending(to);
    through_groups<pixels, Range::bytes>(
        layer, io.x + row * io.x_row + column * io.x_pixel,
        [places](size_t branch) -> size_t { return places[branch]; }, apart, first, last,
        [&](size_t group, const QuadSums<pixels>& sums) {
            const size_t neuron = group * neuron_block;
            const auto sum = [&](size_t pixel, size_t, size_t part) __attribute__((always_inline)) {
                const Integers so_far = sums.part(pixel, part);
                if constexpr (least_input<Range::bytes> == 0) return so_far;
                const Integers weights = load(layer.sums + neuron + part * lanes);
                return so_far - weights * everywhere(least_input<Range::bytes>);
            };
            store_blocks<pixels, 1, mapped>(to, ending, neuron, sum, io.residual ? io.residual + at + neuron : nullptr,
                                            io.y + at + neuron);
        });
}

// Pixels of rows of so many.
template <size_t columns>
struct InRows {
    size_t pixel, row;
    ALWAYS_INLINE size_t operator()(size_t number) const { return number / columns * row + number % columns * pixel; }
};

// Rows so short that a tile has room for several; whether they are.
template <bool mapped, size_t columns>
bool short_rows(const QuadLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to,
                size_t first, size_t last) {
    constexpr size_t most_rows = most_pixels / columns;
    if constexpr (most_rows >= 2) {
        if (io.columns == columns) {
            in_tiles<most_rows>(io.rows, [&]<size_t rows>(size_t row) {
                const InRows<columns> apart{io.x_pixel, io.x_row};
                tile<mapped, rows * columns>(layer, places, io, row, 0, apart, to, first, last);
            });
            return true;
        }
    }
    return false;
}

// A tile goes through all groups before the next one starts, so that its inputs stay in the first cache.
template <bool mapped>
void all_pixels(const QuadLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to,
                size_t first, size_t last) {
    if (first == last || short_rows<mapped, 1>(layer, places, io, to, first, last) ||
        short_rows<mapped, 2>(layer, places, io, to, first, last) ||
        short_rows<mapped, 3>(layer, places, io, to, first, last) ||
        short_rows<mapped, 4>(layer, places, io, to, first, last))
        return;
    for (size_t row = 0; row < io.rows; row++)
        in_tiles<most_pixels>(io.columns, [&]<size_t pixels>(size_t column) {
            tile<mapped, pixels>(layer, places, io, row, column, EquallyApart{io.x_pixel}, to, first, last);
        });
}

}  // namespace

void quad_pixels(const QuadLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to,
                 size_t first, size_t last) {
    if (to.map) all_pixels<true>(layer, places, io, to, first, last);
    else all_pixels<false>(layer, places, io, to, first, last);
}

}  // namespace sparbor::SPARBOR_KERNELS
