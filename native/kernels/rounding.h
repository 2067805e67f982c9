// Whole numbers, and floats as such. Without linkage, as vectors.h.
#pragma once

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

typedef int32_t Wholes __attribute__((vector_size(vector_bytes)));

ALWAYS_INLINE Integers everywhere(int32_t value) { return static_cast<uint32_t>(value) - Integers{}; }
ALWAYS_INLINE Integers load(const int32_t* at) {
    Integers values;
    std::memcpy(&values, at, sizeof values);
    return values;
}

// To the nearest whole number, of two the even one.
ALWAYS_INLINE Wholes rounded(Vector x) {
#if defined(__AVX512F__)
    return reinterpret_cast<Wholes>(_mm512_cvtps_epi32(x));
#elif defined(__AVX__)
    return reinterpret_cast<Wholes>(_mm256_cvtps_epi32(x));
#elif defined(__SSE2__)
    return reinterpret_cast<Wholes>(_mm_cvtps_epi32(x));
#elif defined(__aarch64__)
    return vcvtnq_s32_f32(x);
#else
    Wholes result;
    for (size_t lane = 0; lane < lanes; lane++) result[lane] = static_cast<int32_t>(__builtin_lrintf(x[lane]));
    return result;
#endif
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
