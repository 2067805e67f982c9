// Rows of bytes times dense layers of 8 bits: several rows and several groups at once, so that each byte that is loaded
// serves several sums.
#include "dense_bytes.h"

#include "dot_sums.h"
#include "row_sums.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

template <size_t rows, size_t panels>
void tile(const DenseByteLayer& layer, const ByteRows& io, size_t first_row, size_t group) {
    constexpr Range range = Range::levels;
    constexpr uint32_t one_run = 0;
    size_t apart[rows];
    for_constants<rows>([&](auto row) __attribute__((always_inline)) { apart[row] = row * io.x_stride; });
    const auto sums = dot_sums<range, rows, panels>(layer, group, io.x + first_row * io.x_stride, apart, &one_run);
    UNROLL for (size_t panel = 0; panel < panels; panel++)
        store_rows<rows>(layer, io, first_row, group + panel, FourInputs<range>::least_input,
                         [&](size_t row, size_t part) __attribute__((always_inline)) {
                             return sums.part(row, panel, part);
                         });
}

// One tile of rows after another meets as many panels as a tile has, which stay in a near cache. A single tile goes
// through all of them.
void rows_of_bytes(const DenseByteLayer& layer, const ByteRows& io, size_t first, size_t last) {
    const size_t block = io.count <= most_dot_rows ? last - first : panels_of_tile<most_dot_rows>();
    for (size_t group = first; group < last; group += block) {
        const size_t end = group + block < last ? group + block : last;
        in_tiles<most_dot_rows>(io.count, [&]<size_t rows>(size_t first_row) {
            by_panels<rows>(group, end, [&]<size_t panels>(size_t at) {
                tile<rows, panels>(layer, io, first_row, at);
            });
        });
    }
}

}  // namespace

void dense_pixels(const DenseByteLayer&, const uint32_t*, const PixelRows&, const Requantization&, size_t, size_t);
void depthwise_pixels(const DepthwiseByteLayer&, const uint32_t*, const PixelRows&, const Requantization&);

extern const DenseBytes dense_bytes;  // which `quads` has
const DenseBytes dense_bytes{rows_of_bytes, dense_pixels, depthwise_pixels, vector_bytes, faster_dense,
                             faster_pixels};

}  // namespace sparbor::SPARBOR_KERNELS
