// Rows of floats times layers of quads: how they become bytes, and what becomes of the sums.
#include "quad_walk.h"
#include "row_tiles.h"
#include "to_bytes.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

template <size_t rows>
void store_group(const QuadLayer& layer, const ByteRows& io, size_t first_row, size_t group,
                 const QuadSums<rows>& sums) {
    const Vector least = everywhere(layer.clamp_min);
    UNROLL for (size_t part = 0; part < parts; part++) {
        const size_t neuron = group * neuron_block + part * lanes;
        const Vector scale = load(layer.scale + neuron), bias = load(layer.bias + neuron);
        const Integers weights = load(layer.sums + neuron);
        UNROLL for (size_t row = 0; row < rows; row++) {
            const ByteRange& range = io.ranges[first_row + row];
            const Integers sum = sums.part(row, part) - weights * everywhere(range.zero + least_input<Range::levels>);
            const Vector exact = __builtin_convertvector(reinterpret_cast<Wholes>(sum), Vector);
            const Vector y = exact * (scale * range.step) + bias;
            store(io.y + (first_row + row) * io.y_stride + neuron, y < least ? least : y);  // keeps NaN
        }
    }
}

// A tile of rows goes through all groups before the next one starts, so that its inputs stay in the first cache.
void sparse(const QuadLayer& layer, const ByteRows& io, size_t first, size_t last) {
    if (first == last) return;
    in_tiles<most_tile_rows<Range::levels>>(io.count, [&]<size_t rows>(size_t first_row) {
        through_groups<rows, Range::levels>(
            layer, io.x + first_row * io.x_stride, [](size_t branch) { return branch * quad_branch; },
            EquallyApart{io.x_stride}, first, last,
            [&](size_t group, const QuadSums<rows>& sums) { store_group<rows>(layer, io, first_row, group, sums); });
    });
}

}  // namespace

void quad_pixels(const QuadLayer&, const uint32_t*, const PixelRows&, const Requantization&, size_t, size_t);

const Quads quads{to_bytes<levels>, sparse, quad_pixels};

}  // namespace sparbor::SPARBOR_KERNELS
