// The widest vectors of a kernel set. Without linkage, as everything that files of different flags share must be.
#pragma once

#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <cstring>
#include <type_traits>

#include "kernels.h"
#include "inlining.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

#if defined(__AVX512F__)
constexpr size_t vector_bytes = 64;
#elif defined(__AVX__)
constexpr size_t vector_bytes = 32;
#else
constexpr size_t vector_bytes = 16;
#endif
constexpr int64_t lanes = vector_bytes / sizeof(float);  // signed, like positions that may lie before a row
typedef float Vector __attribute__((vector_size(vector_bytes)));
typedef float Unaligned __attribute__((vector_size(vector_bytes), aligned(4)));
typedef uint32_t Integers __attribute__((vector_size(vector_bytes)));
typedef uint16_t Shorts __attribute__((vector_size(vector_bytes / 2), aligned(2)));

// Keeps the compiler from loading a value again for each use.
template <class Loaded>
ALWAYS_INLINE Loaded in_register(Loaded value) {
#if defined(__AVX512F__)
    asm("" : "+v"(value));
#elif defined(__SSE__)
    asm("" : "+x"(value));
#elif defined(__aarch64__)
    asm("" : "+w"(value));
#endif
    return value;
}

// Calls use(i) for all i below `count`, constants: arrays at such places are registers from the start, where those of
// unrolled loops may stay in memory.
template <size_t count, class Use>
ALWAYS_INLINE void for_constants(const Use& use) {
    if constexpr (count > 0) {
        for_constants<count - 1>(use);
        use(std::integral_constant<size_t, count - 1>{});
    }
}

ALWAYS_INLINE Vector load(const float* at) { return *reinterpret_cast<const Unaligned*>(at); }
ALWAYS_INLINE void store(float* at, Vector value) { *reinterpret_cast<Unaligned*>(at) = value; }
ALWAYS_INLINE Vector everywhere(float value) { return value - Vector{}; }

// For each lane, that of `a` and `b`, one behind the other, which `places` names, its higher bits ignored.
template <class V, class Places>
ALWAYS_INLINE V shuffled(V a, V b, Places places) {
#if defined(__clang__)
    // Clang's own takes constants alone; it finds the instruction of these loops where they turn out to be.
    constexpr size_t count = sizeof(V) / sizeof(a[0]);
    V result;
    UNROLL for (size_t lane = 0; lane < count; lane++) {
        const size_t place = places[lane] % (2 * count);
        result[lane] = place < count ? a[place] : b[place - count];
    }
    return result;
#else
    return __builtin_shuffle(a, b, places);
#endif
}

inline int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

// The quotients' ceilings; `b` is positive.
inline int64_t divide_up(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

inline void fill(float* at, size_t count, float value) {
    for (size_t i = 0; i < count; i++) at[i] = value;
}

// Lanes outside of [first, last) are zero, and not read.
ALWAYS_INLINE Vector load_between(const float* at, int64_t first, int64_t last) {
    if (first <= 0 && last >= lanes) return load(at);
#if defined(__AVX512F__)
    const uint32_t below = last >= lanes ? 0xffffu : last <= 0 ? 0u : (1u << last) - 1;
    const uint32_t above = first <= 0 ? 0xffffu : first >= lanes ? 0u : 0xffffu << first;
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>(below & above), at);
#else
    float some[lanes] = {};
    const int64_t end = clamp(last, 0, lanes);
    for (int64_t lane = clamp(first, 0, lanes); lane < end; lane++) some[lane] = at[lane];
    return load(some);
#endif
}

// The first `count` lanes, and nothing beyond.
ALWAYS_INLINE void store_first(float* at, Vector value, int64_t count) {
    if (count >= lanes) return store(at, value);
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(at, static_cast<__mmask16>((1u << count) - 1), value);
#else
    float all[lanes];
    store(all, value);
    for (int64_t lane = 0; lane < count; lane++) at[lane] = all[lane];
#endif
}

// Every second of two vectors' numbers, from the first or from the second on.
template <size_t from>
ALWAYS_INLINE Vector seconds(Vector low, Vector high) {
    Integers which;
    UNROLL for (size_t lane = 0; lane < lanes; lane++) which[lane] = 2 * lane + from;
    return shuffled(low, high, which);
}

ALWAYS_INLINE Integers widen(const uint16_t* at) {
    return __builtin_convertvector(*reinterpret_cast<const Shorts*>(at), Integers);
}

ALWAYS_INLINE Vector load_halves(const uint16_t* at) {
#if defined(__AVX512F__)
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
#elif defined(__F16C__)
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
#elif defined(__aarch64__)
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at)));
#elif defined(__AVX__)
    // A half's bits shifted into a float's are the same number 2^-112 times as large; exponent 31 never occurs.
    const Integers halves = widen(at);
    return reinterpret_cast<Vector>((halves & 0x8000u) << 16 | (halves & 0x7fffu) << 13) * 0x1p112f;
#else
    // The same of four: each half comes into the upper 16 bits, and its sign then stays when the others go down by 3.
    typedef uint16_t Eight __attribute__((vector_size(16)));
    typedef int32_t Signed __attribute__((vector_size(16)));
    Eight halves = {};
    std::memcpy(&halves, at, lanes * sizeof *at);
    const auto raised = reinterpret_cast<Signed>(shuffled(Eight{}, halves, Eight{0, 8, 1, 9, 2, 10, 3, 11}));
    return reinterpret_cast<Vector>((raised >> 3) & ~0x70001fff) * 0x1p112f;
#endif
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
