// What convolutions do with planes, as plain loops; compiled like elementwise.cpp, once for each kernel set.
#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// The outputs whose tap, at `offset` + output · stride, lies within `size` inputs.
struct Span {
    int64_t first, last;
    Span(int64_t offset, int64_t stride, int64_t size, int64_t outputs)
        : first(clamp(divide_up(-offset, stride), 0, outputs)),
          last(clamp(divide_up(size - offset, stride), first, outputs)) {}
};

// A row, a vector of outputs at a time: the last may run over its end.
void shift_row(const Geometry& g, const float* row, int64_t column, size_t pitch, float* to) {
    if (g.upsample_w == 1 && g.stride_w <= 2) {
        for (int64_t i = 0; i < static_cast<int64_t>(pitch); i += lanes) {
            const int64_t at = column + i * g.stride_w, left = g.width - at;
            const Vector low = load_between(row + at, -at, left);
            if (g.stride_w == 1) store(to + i, low);
            else store(to + i, seconds<0>(low, load_between(row + at + lanes, -at - lanes, left - lanes)));
        }
        return;
    }
    const Span inside(column, g.stride_w, (g.width - 1) * g.upsample_w + 1, g.out_width);
    fill(to, pitch, 0);
    for (int64_t i = inside.first; i < inside.last; i++) {
        const int64_t at = i * g.stride_w + column;
        if (at % g.upsample_w == 0) to[i] = row[at / g.upsample_w];
    }
}

void shift(const Geometry& g, const float* plane, Shift by, size_t rows, size_t pitch, float* to) {
    for (size_t r = 0; r < rows; r++, to += pitch) {
        const int64_t row = by.row + static_cast<int64_t>(r) * g.stride_h;
        if (row < 0 || row % g.upsample_h != 0 || row / g.upsample_h >= g.height)
            for (size_t i = 0; i < pitch; i += lanes) store(to + i, Vector{});
        else
            shift_row(g, plane + row / g.upsample_h * g.width, by.column, pitch, to);
    }
}

// One vector of a copy, for some planes.
void gather_some(const Gather& each, const float* plane, size_t stride, size_t channels, float* y, size_t y_stride) {
#if defined(__AVX512F__)
    if (each.kind == Gather::in_order) {
        const float* x = plane + each.base;
        for (size_t channel = 0; channel < channels; channel++, x += stride, y += y_stride)
            store(y, _mm512_maskz_loadu_ps(static_cast<__mmask16>(each.mask), x));
        return;
    }
    if (each.kind == Gather::near) {
        Integers from;
        std::memcpy(&from, each.from, sizeof from);
        const __m512i places = reinterpret_cast<__m512i>(from - static_cast<uint32_t>(each.base));
        const float* x = plane + each.base;
        for (size_t channel = 0; channel < channels; channel++, x += stride, y += y_stride)
            store(y, _mm512_maskz_permutex2var_ps(each.mask, load(x), places, load(x + lanes)));
        return;
    }
#else
    if (each.kind == Gather::in_order && each.mask == 0xffff) {
        const float* x = plane + each.base;
        for (size_t channel = 0; channel < channels; channel++, x += stride, y += y_stride)
            std::memcpy(y, x, column_tile * sizeof(float));
        return;
    }
#endif
    for (size_t channel = 0; channel < channels; channel++, plane += stride, y += y_stride)
        for (size_t i = 0; i < column_tile; i++) y[i] = each.from[i] < 0 ? 0.0f : plane[each.from[i]];
}

// So many planes at once that their pages' addresses fit the processor's table of them.
constexpr size_t planes_at_once = 16;

void gather(const Gather* table, size_t count, const float* planes, size_t stride, size_t channels, float* to,
            size_t to_stride) {
    for (size_t done = 0; done < channels; done += planes_at_once) {
        const size_t some = channels - done < planes_at_once ? channels - done : planes_at_once;
        for (size_t i = 0; i < count; i++)
            gather_some(table[i], planes + done * stride, stride, some, to + done * to_stride + i * column_tile,
                        to_stride);
    }
}

// Writes nothing beyond the last row, but whole vectors before it, in ascending order.
void narrow(const float* rows, size_t pitch, size_t width, size_t count, float* to) {
    const float* const end = to + count * width;
    for (size_t r = 0; r < count; r++, rows += pitch, to += width) {
        size_t i = 0;
        for (; i + lanes <= width; i += lanes) store(to + i, load(rows + i));
        if (i == width) continue;
        if (width > static_cast<size_t>(lanes)) store(to + width - lanes, load(rows + width - lanes));
        else if (to + lanes <= end) store(to, load(rows));
        else for (; i < width; i++) to[i] = rows[i];
    }
}

}  // namespace

const Planes planes{shift, gather, narrow};

}  // namespace sparbor::SPARBOR_KERNELS
