// Depthwise convolutions: one plane's sums are few, so the plane is read as it is, without copies. The lanes are pixels
// of a row; a few rows are computed at once because they share what is read. Compiled once for each kernel set.
#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

#if defined(__AVX512F__)
constexpr size_t rows_at_once = 8;
constexpr bool permutes = true;  // any lanes in one operation, faster than a load that crosses cache lines
#else
constexpr size_t rows_at_once = 4;
constexpr bool permutes = false;
#endif

// The lanes that lie in a row, which are the only ones that are read; the others are zero.
class Inside {
public:
    ALWAYS_INLINE Inside() = default;
    // Of a vector that starts at column `at` of a row of `width`.
    ALWAYS_INLINE Inside(int64_t at, int64_t width)
        : first_(clamp(-at, 0, lanes)), last_(clamp(width - at, first_, lanes)) {
#if defined(__AVX512F__)
        mask_ = static_cast<__mmask16>((1u << last_) - (1u << first_));
#elif defined(__AVX__)
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        mask_ = _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(first_)), lane),
                                    _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(last_)), lane));
#endif
    }

    ALWAYS_INLINE Vector load_from(const float* at) const {
#if defined(__AVX512F__)
        return _mm512_maskz_loadu_ps(mask_, at);
#elif defined(__AVX__)
        return _mm256_maskload_ps(at, mask_);
#else
        if (last_ - first_ == lanes) return load(at);
        float some[lanes] = {};
        for (int64_t lane = first_; lane < last_; lane++) some[lane] = at[lane];
        return load(some);
#endif
    }

private:
    int64_t first_, last_;
#if defined(__AVX512F__)
    __mmask16 mask_;
#elif defined(__AVX__)
    __m256i mask_;
#endif
};

// The lanes from `by` on, and then those before.
ALWAYS_INLINE Vector turned(Vector x, size_t by) {
    Integers which;
    UNROLL for (size_t lane = 0; lane < lanes; lane++) which[lane] = (lane + by) % lanes;
    return shuffled(x, x, which);
}

// What a vector of outputs needs of one row of the plane: for each horizontal tap, a vector.
template <size_t kernel, size_t stride>
class Row {
public:
    // The first tap of the first output is column `at`.
    ALWAYS_INLINE Row(int64_t at, int64_t width, int64_t outputs)
        : at_(at), one_load_(permutes && outputs + int64_t{kernel} - 1 <= lanes) {
        UNROLL for (size_t i = 0; i < loads; i++) inside_[i] = Inside(at + start(i), width);
    }

    ALWAYS_INLINE void read(const float* row, Vector* taps) const {
        const float* const x = row + at_;
        if constexpr (stride == 1) {
            if (one_load_) {
                const Vector all = in_register(inside_[0].load_from(x));
                UNROLL for (size_t i = 0; i < kernel; i++) taps[i] = turned(all, i);
                return;
            }
            UNROLL for (size_t i = 0; i < kernel; i++) taps[i] = in_register(inside_[i].load_from(x + i));
        } else {
            UNROLL for (size_t i = 0; i < kernel; i += 2) {
                const Vector low = in_register(inside_[i].load_from(x + i));
                const Vector high = in_register(inside_[i + 1].load_from(x + i + lanes));
                taps[i] = in_register(seconds<0>(low, high));
                if (i + 1 < kernel) taps[i + 1] = in_register(seconds<1>(low, high));
            }
        }
    }

private:
    static constexpr size_t loads = stride == 1 ? kernel : kernel + 1;
    static constexpr size_t start(size_t i) { return stride == 1 || i % 2 == 0 ? i : i - 1 + lanes; }

    int64_t at_;
    bool one_load_;  // holds all columns that the outputs need
    Inside inside_[loads];
};

// A plane and its weights; what is stored may not alias them, so they need to be read only once.
template <size_t kernel>
struct Work {
    Geometry g;
    const float* x;
    float* y;
    const float* weights;
    Vector spread[kernel == 3 ? kernel * kernel : 1];  // more would not fit into the registers
    Vector scale, bias, clamp_min;

    ALWAYS_INLINE explicit Work(const DepthwisePlane& plane)
        : g(*plane.geometry), x(plane.x), y(plane.y), weights(plane.weights), scale(everywhere(plane.scale)),
          bias(everywhere(plane.bias)), clamp_min(everywhere(plane.clamp_min)) {
        if constexpr (kernel == 3)
            UNROLL for (size_t i = 0; i < kernel * kernel; i++) spread[i] = in_register(everywhere(weights[i]));
    }

    ALWAYS_INLINE Vector weight(size_t i) const {
        if constexpr (kernel == 3) return spread[i];
        else return everywhere(weights[i]);
    }
};

// A vector of outputs in each of some rows.
template <size_t kernel, size_t stride, size_t rows>
ALWAYS_INLINE void sum_tile(const Work<kernel>& work, const Row<kernel, stride>& row, int64_t first, int64_t column,
                            int64_t count) {
    Vector sums[rows] = {};
    const int64_t top = first * static_cast<int64_t>(stride) - work.g.pad_top;
    const float* x = work.x + top * work.g.width;
    UNROLL for (size_t i = 0; i < (rows - 1) * stride + kernel; i++, x += work.g.width) {
        if (static_cast<uint64_t>(top + static_cast<int64_t>(i)) >= static_cast<uint64_t>(work.g.height)) continue;
        Vector taps[kernel];
        row.read(x, taps);
        UNROLL for (size_t r = 0; r < rows; r++) {
            if (i < r * stride || i - r * stride >= kernel) continue;
            UNROLL for (size_t tap = 0; tap < kernel; tap++)
                sums[r] += work.weight((i - r * stride) * kernel + tap) * taps[tap];
        }
    }
    // In a narrow plane, whole vectors run into the rows below, which are written later.
    float* y = work.y + first * work.g.out_width + column;
    float* const last = work.y + work.g.out_height * work.g.out_width - lanes;
    UNROLL for (size_t r = 0; r < rows; r++, y += work.g.out_width) {
        const Vector value = sums[r] * work.scale + work.bias;
        store_first(y, value < work.clamp_min ? work.clamp_min : value, y <= last ? lanes : count);
    }
}

// By tiles of a vector's width; the last one overlaps the one before unless it is the only one.
template <size_t kernel, size_t stride, size_t rows>
ALWAYS_INLINE void sum_rows(const Work<kernel>& work, int64_t first) {
    const int64_t width = work.g.out_width, count = width < lanes ? width : lanes;
    for (int64_t next = 0; next < width; next += lanes) {
        const int64_t column = next + lanes > width ? width - count : next;
        const Row<kernel, stride> row(column * static_cast<int64_t>(stride) - work.g.pad_left, work.g.width, count);
        sum_tile<kernel, stride, rows>(work, row, first, column, count);
    }
}

template <size_t kernel, size_t stride, size_t rows>
ALWAYS_INLINE void sum_last_rows(const Work<kernel>& work, int64_t first) {
    if constexpr (rows > 0) {
        if (work.g.out_height - first == rows) sum_rows<kernel, stride, rows>(work, first);
        else sum_last_rows<kernel, stride, rows - 1>(work, first);
    }
}

template <size_t kernel, size_t stride>
void sum_plane(const DepthwisePlane& plane) {
    const Work<kernel> work(plane);
    int64_t first = 0;
    for (; first + static_cast<int64_t>(rows_at_once) <= work.g.out_height; first += rows_at_once)
        sum_rows<kernel, stride, rows_at_once>(work, first);
    sum_last_rows<kernel, stride, rows_at_once - 1>(work, first);
}

DepthwiseKernel find(int64_t kernel, int64_t stride) {
    static constexpr struct {
        int64_t kernel, stride;
        DepthwiseKernel sum;
    } all[] = {{3, 1, sum_plane<3, 1>}, {3, 2, sum_plane<3, 2>}, {5, 1, sum_plane<5, 1>},
               {5, 2, sum_plane<5, 2>}, {7, 1, sum_plane<7, 1>}, {7, 2, sum_plane<7, 2>}};
    for (const auto& each : all)
        if (each.kernel == kernel && each.stride == stride) return each.sum;
    return nullptr;
}

}  // namespace

DepthwiseKernel find_depthwise(const Geometry& g) {
    const bool square = g.kernel_h == g.kernel_w && g.stride_h == g.stride_w;
    const bool plain = g.dilation_h == 1 && g.dilation_w == 1 && g.upsample_h == 1 && g.upsample_w == 1;
    return g.channels == g.groups && square && plain ? find(g.kernel_h, g.stride_h) : nullptr;
}

}  // namespace sparbor::SPARBOR_KERNELS
