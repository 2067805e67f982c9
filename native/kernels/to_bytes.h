// Rows of floats as rows of bytes, each with a step and a zero of its own. Without linkage, as vectors.h.
#pragma once

#include "quads.h"
#include "rounding.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

typedef uint8_t Bytes __attribute__((vector_size(vector_bytes), aligned(1), may_alias));

// For each step that halves a vector, the lanes that meet: constants, which GCC otherwise makes lane by lane.
struct MeetingLanes {
    alignas(vector_bytes) uint32_t of_step[lanes][lanes] = {}, lower[lanes] = {}, upper[lanes] = {};

    constexpr MeetingLanes() {
        for (uint32_t lane = 0; lane < lanes; lane++) {
            for (uint32_t step = 0; step < lanes; step++) of_step[step][lane] = lane ^ step;
            lower[lane] = lane < lanes / 2 ? lane : lane + lanes / 2;  // of two vectors, the lower halves
            upper[lane] = lower[lane] + lanes / 2;
        }
    }
};
constexpr MeetingLanes meeting_lanes;

ALWAYS_INLINE Vector shuffled(Vector a, Vector b, const uint32_t (&places)[lanes]) {
    return shuffled(a, b, *reinterpret_cast<const Integers*>(places));
}

// The smallest and the largest of a row's numbers, 0 among them: infinite if one of them is, or is NaN.
struct Extremes {
    float low, high;
};

// The same by lane.
struct LaneExtremes {
    Vector low = {}, high = {};
    Integers strange = {};  // not zero where a number is infinite or NaN, whose difference from itself is NaN

    ALWAYS_INLINE void look_at(Vector x) {
        low = x < low ? x : low;
        high = x > high ? x : high;
        strange |= reinterpret_cast<Integers>(x - x);
    }

    ALWAYS_INLINE void join(const LaneExtremes& other) {
        low = other.low < low ? other.low : low;
        high = other.high > high ? other.high : high;
        strange |= other.strange;
    }

    // Half of the lanes look for the largest, the other half for the smallest, as the largest of what is turned around.
    ALWAYS_INLINE Extremes of_all() const {
        const Vector all = strange != 0 ? everywhere(__builtin_inff()) : high;
        Vector most = larger(shuffled(-low, all, meeting_lanes.lower), shuffled(-low, all, meeting_lanes.upper));
        UNROLL for (size_t step = lanes / 4; step > 0; step /= 2)
            most = larger(most, shuffled(most, most, meeting_lanes.of_step[step]));
        return {-most[0], most[lanes / 2]};
    }

private:
    ALWAYS_INLINE static Vector larger(Vector a, Vector b) { return a > b ? a : b; }
};

// Lanes beyond the row's end are zero.
ALWAYS_INLINE Vector load_of_row(const float* x, size_t at, size_t count) {
    return at < count ? load_between(x + at, 0, static_cast<int64_t>(count - at)) : Vector{};
}

Extremes extremes_of(const float* x, size_t count) {
    LaneExtremes turns[2];  // to hide how long each takes
    size_t at = 0;
    for (; at + 2 * lanes <= count; at += 2 * lanes) {
        turns[0].look_at(load(x + at));
        turns[1].look_at(load(x + at + lanes));
    }
    for (; at < count; at += lanes) turns[0].look_at(load_of_row(x, at, count));
    turns[0].join(turns[1]);
    return turns[0].of_all();
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
#elif defined(__SSE2__)
    const auto two = [&](int at) {
        const __m128i both = _mm_packs_epi32(reinterpret_cast<__m128i>(x[at]), reinterpret_cast<__m128i>(x[at + 1]));
        return _mm_add_epi16(both, _mm_set1_epi16(static_cast<int16_t>(zero)));
    };
    const __m128i bytes = _mm_packus_epi16(two(0), two(2));
    return reinterpret_cast<Bytes>(_mm_min_epu8(bytes, _mm_set1_epi8(static_cast<char>(levels))));
#elif defined(__aarch64__)
    const auto two = [&](int at) {
        const int16x8_t both = vcombine_s16(vqmovn_s32(x[at]), vqmovn_s32(x[at + 1]));
        return vqmovun_s16(vaddq_s16(both, vdupq_n_s16(static_cast<int16_t>(zero))));
    };
    return vminq_u8(vcombine_u8(two(0), two(2)), vdupq_n_u8(static_cast<uint8_t>(levels)));
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
    const auto [low, high] = extremes_of(x, count);
    const float range = high - low;
    const size_t end = round_up(count, quad_branch);
    if (!(range < __builtin_inff())) {
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
