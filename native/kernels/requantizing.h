// Numbers as bytes of a value whose step and zero are known, and back. Without linkage, as vectors.h. Who includes this
// is compiled without fused multiply-adds.
#pragma once

#include "bytes.h"
#include "to_bytes.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// Of numbers that are given in steps of the result: the nearest whole numbers from `low` to `high`, which the zero is
// still to be added to. NaN becomes 0.
struct Rounding {
    int32_t zero;
    float low, high;

    ALWAYS_INLINE Wholes whole(Vector steps) const {
        steps = steps == steps ? steps : Vector{};
        steps = steps < everywhere(low) ? everywhere(low) : steps;
        steps = steps > everywhere(high) ? everywhere(high) : steps;
        return rounded(steps);
    }

    uint8_t byte(float steps) const {
        const float known = steps == steps ? steps : 0;
        const float least = known < low ? low : known, within = least > high ? high : least;
        return static_cast<uint8_t>(static_cast<int32_t>(__builtin_rintf(within)) + zero);
    }
};

// As many bytes as a vector has lanes, as whole numbers.
// By intrinsics: GCC converts a vector of bytes one by one.
ALWAYS_INLINE Wholes wholes_of(const uint8_t* bytes) {
#if defined(__AVX512F__)
    return reinterpret_cast<Wholes>(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes))));
#elif defined(__AVX2__)
    return reinterpret_cast<Wholes>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes))));
#elif defined(__SSE2__)
    int32_t four;
    std::memcpy(&four, bytes, sizeof four);
    const __m128i zero = _mm_setzero_si128(), shorts = _mm_unpacklo_epi8(_mm_cvtsi32_si128(four), zero);
    return reinterpret_cast<Wholes>(_mm_unpacklo_epi16(shorts, zero));
#elif defined(__aarch64__)
    uint32_t four;
    std::memcpy(&four, bytes, sizeof four);
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four))))));
#else
    Wholes wholes;
    UNROLL for (int64_t lane = 0; lane < lanes; lane++) wholes[lane] = bytes[lane];
    return wholes;
#endif
}

// The first `count` of a vector's bytes, and nothing beyond.
ALWAYS_INLINE void store_bytes(uint8_t* at, Bytes bytes, size_t count) {
    if (count >= vector_bytes) *reinterpret_cast<Bytes*>(at) = bytes;
#if defined(__AVX512BW__)
    else _mm512_mask_storeu_epi8(at, (__mmask64{1} << count) - 1, reinterpret_cast<__m512i>(bytes));
#else
    else std::memcpy(at, &bytes, count);
#endif
}

// Calls numbers(at, left) for vectors of a row of `count` numbers, of which `left` are left, and stores what it returns
// in steps as bytes; nothing is written beyond the row.
template <class Numbers>
ALWAYS_INLINE void store_row(const Rounding& rounding, size_t count, uint8_t* y, const Numbers& numbers) {
    for (size_t at = 0; at < count; at += vector_bytes) {
        Wholes whole[4] = {};
        UNROLL for (size_t i = 0; i < 4; i++)
            if (at + i * lanes < count) whole[i] = rounding.whole(numbers(at + i * lanes, count - at - i * lanes));
        store_bytes(y + at, narrowed(whole, rounding.zero, 255), count - at);
    }
}

// The same of results, from steps(at), which an activation may follow.
template <class Steps>
ALWAYS_INLINE void store_ended(const ByteEnding& ending, size_t count, uint8_t* y, const Steps& steps) {
    const Rounding rounding{ending.zero, ending.low, ending.high};
    if (!ending.map)
        return store_row(rounding, count, y, [&](size_t at, size_t) __attribute__((always_inline)) {
            return steps(at);
        });
    for (size_t first = 0; first < count; first += vector_bytes) {
        alignas(vector_bytes) float values[vector_bytes] = {};
        const size_t left = count - first;
        for (size_t at = 0; at < vector_bytes && at < left; at += lanes)
            store(values + at, steps(first + at) * ending.step);
        ending.map(values, vector_bytes, ending.a, ending.b);
        store_row(rounding, left < vector_bytes ? left : vector_bytes, y + first,
                  [&](size_t at, size_t) __attribute__((always_inline)) { return load(values + at) / ending.step; });
    }
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
