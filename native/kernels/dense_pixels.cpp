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

template <bool mapped, size_t pixels, size_t panels>
void tile(const DenseByteLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to,
          size_t first_pixel, size_t group) {
    constexpr Range range = Range::bytes;
    constexpr int32_t least = FourInputs<range>::least_input;
    Windows windows(io, first_pixel);
    const size_t start = windows.place();
    size_t apart[pixels];
    for_constants<pixels>([&](auto pixel) __attribute__((always_inline)) {
        apart[pixel] = windows.place() - start;
        windows.next();
    });
    const auto sums = dot_sums<range, pixels, panels>(layer, group, io.x + start, apart, places);
    const size_t neuron = group * neuron_block, at = first_pixel * to.outputs + neuron;
    const auto sum = [&](size_t pixel, size_t panel, size_t part) __attribute__((always_inline)) {
        const Integers so_far = sums.part(pixel, panel, part);
        if constexpr (least == 0) return so_far;
        return so_far - load(layer.sums + neuron + panel * neuron_block + part * lanes) * everywhere(least);
    };
    store_blocks<pixels, panels, mapped>(to, Ending(to), neuron, sum, io.residual ? io.residual + at : nullptr,
                                         io.y + at);
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

}  // namespace

void dense_pixels(const DenseByteLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to,
                  size_t first, size_t last) {
    to.map ? all_pixels<true>(layer, places, io, to, first, last) : all_pixels<false>(layer, places, io, to, first, last);
}

}  // namespace sparbor::SPARBOR_KERNELS
