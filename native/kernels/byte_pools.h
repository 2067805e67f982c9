// Windows over pixels of bytes, a vector of channels at a time. Without linkage, as vectors.h.
#pragma once

#include "bytes.h"
#include "requantizing.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// The places of a window along one axis that lie within the plane: `count` of them from `first` on, `step` apart.
struct Places {
    int64_t first, count, step;

    Places(int64_t start, int64_t kernel, int64_t dilation, int64_t size) : step(dilation) {
        const int64_t before = start < 0 ? divide_up(-start, dilation) : 0;
        const int64_t end = clamp(divide_up(size - start, dilation), before, kernel > before ? kernel : before);
        first = start + before * dilation;
        count = end - before;
    }
};

// Calls window(from, down, across, row, column, y) for each pixel of some rows of an item's output.
template <class Window>
ALWAYS_INLINE void for_windows(const Geometry& g, const uint8_t* x, size_t first, size_t last, uint8_t* y,
                               const Window& window) {
    y += first * static_cast<size_t>(g.out_width * g.channels);
    for (auto row = static_cast<int64_t>(first); row < static_cast<int64_t>(last); row++) {
        const Places down(row * g.stride_h - g.pad_top, g.kernel_h, g.dilation_h, g.height);
        for (int64_t column = 0; column < g.out_width; column++, y += g.channels) {
            const Places across(column * g.stride_w - g.pad_left, g.kernel_w, g.dilation_w, g.width);
            window(x + (down.first * g.width + across.first) * g.channels, down, across, row, column, y);
        }
    }
}

// `take` is called with where each place of a window begins.
template <class Take>
ALWAYS_INLINE void for_places(const Geometry& g, const uint8_t* from, const Places& down, const Places& across,
                              const Take& take) {
    const int64_t right = across.step * g.channels, below = down.step * g.width * g.channels;
    for (int64_t i = 0; i < down.count; i++, from += below)
        for (int64_t j = 0; j < across.count; j++) take(from + j * right);
}

// Of a window without any place in the plane 0.
void max_pool(const Geometry& g, const uint8_t* x, size_t first, size_t last, uint8_t* y) {
    const auto channels = static_cast<size_t>(g.channels);
    for_windows(g, x, first, last, y, [&](const uint8_t* from, const Places& down, const Places& across, int64_t,
                                          int64_t, uint8_t* to) __attribute__((always_inline)) {
        for (size_t at = 0; at < channels; at += vector_bytes) {
            Bytes most = {};
            for_places(g, from + at, down, across, [&](const uint8_t* place) __attribute__((always_inline)) {
                const Bytes here = *reinterpret_cast<const Bytes*>(place);
                most = here > most ? here : most;
            });
            store_bytes(to + at, most, channels - at);
        }
    });
}

// How many of a window's positions count along one axis.
inline int64_t positions(int64_t start, int64_t kernel, int64_t size, int64_t pad_after, const Places& inside,
                         bool count_padding) {
    const int64_t end = start + kernel < size + pad_after ? start + kernel : size + pad_after;
    return count_padding ? end - start : inside.count;
}

void average_pool(const Geometry& g, const ByteAverage& average, const uint8_t* x, size_t first, size_t last,
                  uint8_t* y) {
    for_windows(g, x, first, last, y, [&](const uint8_t* from, const Places& down, const Places& across, int64_t row,
                                          int64_t column, uint8_t* to) __attribute__((always_inline)) {
        const int64_t high = positions(row * g.stride_h - g.pad_top, g.kernel_h, g.height, g.pad_bottom, down,
                                       average.count_padding);
        const int64_t wide = positions(column * g.stride_w - g.pad_left, g.kernel_w, g.width, g.pad_right, across,
                                       average.count_padding);
        const float divisor = average.divisor != 0 ? average.divisor : static_cast<float>(high * wide);
        const float factor = average.step / divisor;
        const int32_t zeros = static_cast<int32_t>(down.count * across.count) * average.zero;
        store_ended(average.ending, static_cast<size_t>(g.channels), to, [&](size_t at) __attribute__((always_inline)) {
            Wholes sum = {};
            for_places(g, from + at, down, across, [&](const uint8_t* place) __attribute__((always_inline)) {
                sum += wholes_of(place);
            });
            return __builtin_convertvector(sum - zeros, Vector) * factor;
        });
    });
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
