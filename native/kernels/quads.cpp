// Rows of floats times layers of quads.
#include "quad_walk.h"
#include "quad_row.h"
#include "row_sums.h"
#include "row_tiles.h"
#include "to_bytes.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

template <size_t rows, Ask ask>
void through(const QuadLayer& layer, const ByteRows& io, size_t first_row, size_t first, size_t last) {
    through_groups<rows, Range::levels, ask>(
        layer, io.x + first_row * io.x_stride, [](size_t branch) { return branch * quad_branch; },
        EquallyApart{io.x_stride}, first, last,
        [&](size_t group, const QuadSums<rows>& sums) {
            store_rows<rows>(layer, io, first_row, group, least_input<Range::levels>,
                             [&](size_t row, size_t part) __attribute__((always_inline)) {
                                 return sums.part(row, part);
                             });
        });
}

// Whether the weights of some groups are so many that, of a network of such layers, they are rarely still in the second
// cache when a row comes.
bool far_away(const QuadLayer& layer, size_t first, size_t last) {
    constexpr size_t far_quads = (1 << 18) / (2 * quad_bytes);
    return layer.groups[last - 1].slot - layer.groups[first].slot >= far_quads;
}

// A tile of rows goes through all groups before the next one starts, so that its inputs stay in the first cache.
void sparse(const QuadLayer& layer, const ByteRows& io, size_t first, size_t last) {
    if (first == last) return;
    in_tiles<most_tile_rows<Range::levels>>(io.count, [&]<size_t rows>(size_t first_row) {
        if constexpr (rows == 1)
            if (far_away(layer, first, last)) return through<rows, Ask::ahead>(layer, io, first_row, first, last);
        through<rows, Ask::when_needed>(layer, io, first_row, first, last);
    });
}

}  // namespace

void quad_pixels(const QuadLayer&, const uint32_t*, const PixelRows&, const Requantization&, size_t, size_t);
extern const DenseBytes dense_bytes;

const Quads quads{to_bytes<levels>, sparse, quad_row, quad_pixels, &dense_bytes};

}  // namespace sparbor::SPARBOR_KERNELS
