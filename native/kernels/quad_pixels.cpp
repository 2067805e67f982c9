// Layers of quads over pixels. A tile of pixels shares each quad, and their results become bytes in registers.
#include "byte_ending.h"
#include "quad_walk.h"
#include "row_tiles.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

template <size_t pixels>
void tile(const QuadLayer& layer, const uint32_t* places, const PixelRows& io, size_t row, size_t column,
          const Requantization& to, size_t first, size_t last) {
    const size_t at = row * io.y_row + column * io.y_pixel;
    const EquallyApart apart{io.y_pixel};
    through_groups<pixels, Range::bytes>(
        layer, io.x + row * io.x_row + column * io.x_pixel,
        [places](size_t branch) -> size_t { return places[branch]; }, EquallyApart{io.x_pixel}, first, last,
        [&](size_t group, const QuadSums<pixels>& sums) {
            const size_t neuron = group * neuron_block;
            const auto sum = [&](size_t pixel, size_t part) __attribute__((always_inline)) {
                const Integers so_far = sums.part(pixel, part);
                if constexpr (least_input<Range::bytes> == 0) return so_far;
                const Integers weights = load(layer.sums + neuron + part * lanes);
                return so_far - weights * everywhere(least_input<Range::bytes>);
            };
            store_block<pixels>(to, neuron, sum, io.residual ? io.residual + at + neuron : nullptr, io.y + at + neuron,
                                apart);
        });
}

}  // namespace

// A tile goes through all groups before the next one starts, so that its inputs stay in the first cache.
void quad_pixels(const QuadLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to,
                 size_t first, size_t last) {
    if (first == last) return;
    for (size_t row = 0; row < io.rows; row++)
        in_tiles<most_tile_rows>(io.columns, [&]<size_t pixels>(size_t column) {
            tile<pixels>(layer, places, io, row, column, to, first, last);
        });
}

}  // namespace sparbor::SPARBOR_KERNELS
