// What attention does to scores, whatever the lanes are. Without linkage, as vectors.h.
#pragma once

#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr float hidden = -__builtin_inff();
constexpr float least = -1e37f;  // what is less is hidden
constexpr size_t most_keys = 256;  // whose scores are there at once

// e^x of numbers that are not positive, and 0 where that is hardly more; NaN stays. As in elementwise.cpp, but where the
// processor rounds and scales by powers of two itself: 2^r of what is left is a polynomial fitted to be right to 8e-8.
ALWAYS_INLINE Vector exponential(Vector x) {
#if defined(__AVX512F__)
    const __m512 near = _mm512_max_ps(_mm512_set1_ps(-200.0f), x), by = _mm512_set1_ps(1.44269504f);  // NaN is second
    const __m512 n = _mm512_roundscale_ps(near * by, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const Vector r = _mm512_fmsub_ps(near, by, n);
    Vector p = everywhere(1.327647e-3f);
    p = p * r + 9.675541e-3f;
    p = p * r + 5.550713e-2f;
    p = p * r + 2.402212e-1f;
    p = p * r + 6.9314694e-1f;
    p = p * r + 1.0000001f;
    return _mm512_scalef_ps(p, n);
#else
    const Vector shifted = x * 1.44269504f + 12582912.0f;
    const Vector n = shifted - 12582912.0f;
    const Vector r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Vector p = everywhere(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    const Vector e = p * r * r + r + 1.0f;
    const Vector power = reinterpret_cast<Vector>((reinterpret_cast<Integers>(shifted) + 127u) << 23);
    return x < -87.0f ? Vector{} : e * power;
#endif
}

// How keys are divided into blocks of about the same size.
struct KeyBlocks {
    size_t keys, count;

    explicit KeyBlocks(size_t keys) : keys(keys), count((keys + most_keys - 1) / most_keys) {}
    size_t first(size_t block) const { return keys * block / count; }
};

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
