// Rows of floats as rows of bytes, each with a step and a zero of its own. Without linkage, as vectors.h.
#pragma once

#include "quads.h"
#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

typedef int32_t Wholes __attribute__((vector_size(vector_bytes)));
typedef uint8_t Bytes __attribute__((vector_size(vector_bytes), aligned(1), may_alias));

// The smallest and the largest of some numbers, 0 among them, by lane; and whether one is infinite or NaN, whose
// difference from itself is NaN.
struct Extremes {
    Vector low = {}, high = {};
    Integers strange = {};

    ALWAYS_INLINE void look_at(Vector x) {
        low = x < low ? x : low;
        high = x > high ? x : high;
        strange |= reinterpret_cast<Integers>(x - x);
    }

    ALWAYS_INLINE void join(const Extremes& other) {
        low = other.low < low ? other.low : low;
        high = other.high > high ? other.high : high;
        strange |= other.strange;
    }

    // Those of all lanes, in the first one.
    ALWAYS_INLINE void join_lanes() {
        UNROLL for (size_t half = lanes / 2; half > 0; half /= 2) {
            Integers places;
            UNROLL for (size_t lane = 0; lane < lanes; lane++) places[lane] = (lane + half) % lanes;
            join({shuffled(low, low, places), shuffled(high, high, places), shuffled(strange, strange, places)});
        }
    }
};

// Lanes beyond the row's end are zero.
ALWAYS_INLINE Vector load_of_row(const float* x, size_t at, size_t count) {
    return at < count ? load_between(x + at, 0, static_cast<int64_t>(count - at)) : Vector{};
}

Extremes extremes_of(const float* x, size_t count) {
    Extremes turns[2];  // to hide how long each takes
    size_t at = 0;
    for (; at + 2 * lanes <= count; at += 2 * lanes) {
        turns[0].look_at(load(x + at));
        turns[1].look_at(load(x + at + lanes));
    }
    for (; at < count; at += lanes) turns[0].look_at(load_of_row(x, at, count));
    turns[0].join(turns[1]);
    turns[0].join_lanes();
    return turns[0];
}

// To the nearest whole number, of two the even one.
ALWAYS_INLINE Wholes rounded(Vector x) {
#if defined(__AVX512F__)
    return reinterpret_cast<Wholes>(_mm512_cvtps_epi32(x));
#elif defined(__AVX__)
    return reinterpret_cast<Wholes>(_mm256_cvtps_epi32(x));
#elif defined(__aarch64__)
    return vcvtnq_s32_f32(x);
#else
    Wholes result;
    for (size_t lane = 0; lane < lanes; lane++) result[lane] = static_cast<int32_t>(__builtin_lrintf(x[lane]));
    return result;
#endif
}

// Four vectors of whole numbers that have room in 16 bits, each plus `zero`, from 0 to `levels`.
ALWAYS_INLINE Bytes narrowed(const Wholes (&x)[4], int32_t zero, int32_t levels) {
#if defined(__AVX512BW__)
    const auto two = [&](int at) {  // of each, in turns of four numbers
        const __m512i both = _mm512_packs_epi32(reinterpret_cast<__m512i>(x[at]), reinterpret_cast<__m512i>(x[at + 1]));
        return _mm512_add_epi16(both, _mm512_set1_epi16(static_cast<int16_t>(zero)));
    };
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(two(0), two(2)));
    return reinterpret_cast<Bytes>(_mm512_min_epu8(bytes, _mm512_set1_epi8(static_cast<char>(levels))));
#elif defined(__AVX2__)
    const auto two = [&](int at) {
        const __m256i both = _mm256_packs_epi32(reinterpret_cast<__m256i>(x[at]), reinterpret_cast<__m256i>(x[at + 1]));
        return _mm256_add_epi16(both, _mm256_set1_epi16(static_cast<int16_t>(zero)));
    };
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(two(0), two(2)), order);
    return reinterpret_cast<Bytes>(_mm256_min_epu8(bytes, _mm256_set1_epi8(static_cast<char>(levels))));
#else
    Bytes bytes;
    UNROLL for (size_t i = 0; i < vector_bytes; i++) {
        const int32_t whole = x[i / lanes][i % lanes] + zero;
        bytes[i] = static_cast<uint8_t>(whole < 0 ? 0 : whole > levels ? levels : whole);
    }
    return bytes;
#endif
}

// A row of `count` floats, filled up to whole branches by what is zero.
template <int32_t levels>
ByteRange to_bytes(const float* x, size_t count, uint8_t* bytes) {
    constexpr float smallest_normal = 0x1p-126f;  // its reciprocal is finite
    const Extremes extremes = extremes_of(x, count);
    const float low = extremes.low[0], high = extremes.high[0], range = high - low;
    const size_t end = round_up(count, quad_branch);
    if (extremes.strange[0] || !(range < __builtin_inff())) {
        std::memset(bytes, 0, end);
        return {__builtin_nanf(""), 0};
    }
    float step = range / static_cast<float>(levels);
    if (step < smallest_normal) step = 1;
    const float steps = 1 / step;
    const auto zero = static_cast<int32_t>(__builtin_lrintf(-low * steps));
    const auto take = [&](size_t at, const auto& some) __attribute__((always_inline)) {
        Wholes whole[4];
        UNROLL for (size_t i = 0; i < 4; i++) whole[i] = rounded(some(at + i * lanes) * steps);
        *reinterpret_cast<Bytes*>(bytes + at) = narrowed(whole, zero, levels);
    };
    size_t at = 0;
    for (; at + vector_bytes <= count; at += vector_bytes) take(at, [&](size_t i) { return load(x + i); });
    for (; at < end; at += vector_bytes) take(at, [&](size_t i) { return load_of_row(x, i, count); });
    return {step, zero};
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
