// Rows of bytes times dense layers of 8 bits: several rows and several groups at once, so that each byte that is loaded
// serves several sums.
#include "dense_bytes.h"

#include "byte_dots.h"
#include "row_sums.h"
#include "row_tiles.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// As many bytes as processors have that add up products in 16 bits; `to_bytes` knows.
constexpr bool any_byte = false;

template <size_t rows, size_t panels>
void row_tile(const DenseByteLayer& layer, const ByteRows& io, size_t first_row, size_t group) {
    const size_t panel_bytes = layer.fours * dot_bytes;
    const uint32_t start = 0;
    const DotInputs inputs{io.x + first_row * io.x_stride, io.x_stride, &start, 1, layer.fours};
    const auto sums = dot_sums<any_byte, rows, panels>(inputs, layer.panels + group * panel_bytes, panel_bytes);
    UNROLL for (size_t panel = 0; panel < panels; panel++)
        store_rows<rows>(layer, io, first_row, group + panel, FourInputs<any_byte>::least_input,
                         [&](size_t row, size_t part) __attribute__((always_inline)) {
                             return sums.part(row, panel, part);
                         });
}

// One tile of rows after another meets as many panels as a tile has, which stay in a near cache. A single tile goes
// through all of them.
void dense_rows_of_bytes(const DenseByteLayer& layer, const ByteRows& io, size_t first, size_t last) {
    const size_t block = io.count <= most_dot_rows ? last - first : panels_of_tile<most_dot_rows>();
    for (size_t group = first; group < last; group += block) {
        const size_t end = group + block < last ? group + block : last;
        in_tiles<most_dot_rows>(io.count, [&]<size_t rows>(size_t first_row) {
            constexpr size_t panels = panels_of_tile<rows>();
            size_t at = group;
            for (; at + panels <= end; at += panels) row_tile<rows, panels>(layer, io, first_row, at);
            by_rows<panels - 1>(at, end - at, [&]<size_t rest>(size_t) { row_tile<rows, rest>(layer, io, first_row, at); });
        });
    }
}

}  // namespace

const DenseBytes dense_bytes{dense_rows_of_bytes};

}  // namespace sparbor::SPARBOR_KERNELS
