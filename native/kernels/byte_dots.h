// Four bytes of a row times four weights of each neuron of a group, which are added up. Without linkage, as vectors.h.
//
// Sums of products of bytes have 16 bits on some processors, where two of 127 · 127 have room and two of 255 · 127 do
// not. Where any byte may come there, inputs are 128 less than their bytes: |x - 128| times ±w, two of at most
// 128 · 127, has room, and 128 times the sum of the weights is added in the end.
#pragma once

#include <type_traits>

#include "dense_bytes.h"
#include "rounding.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t parts = neuron_block / lanes;  // registers that the sums of a group take
constexpr size_t dot_bytes = neuron_block * dot_inputs;  // of their weights

#if defined(__AVX512VNNI__)

constexpr DenseShares faster_dense{0.45, 0.6};  // over one row, and over several
constexpr double faster_pixels = 0.68;
constexpr size_t registers_of_tile = 31;  // that sums, weights and inputs may take
typedef Wholes Dots;  // as the instruction's own operands: of other types, GCC copies sums at every step

template <Range>
struct FourInputs {
    static constexpr int32_t least_input = 0;  // what the byte 0 is in the sums
    Dots x;

    ALWAYS_INLINE explicit FourInputs(Dots fours) : x(fours) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const {
        sum = reinterpret_cast<Dots>(_mm512_dpbusd_epi32(
            reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(weights)));
    }
};

#elif defined(__AVX512BW__)

constexpr DenseShares faster_dense{0.43, 0.29};
constexpr double faster_pixels = 0.48;
constexpr size_t registers_of_tile = 29;
typedef __m512i Dots;

ALWAYS_INLINE void add_pairs(Dots products, Dots& sum) {
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(products, _mm512_set1_epi16(1)));
}

template <Range>
struct FourInputs {
    static constexpr int32_t least_input = 0;
    __m512i x;

    ALWAYS_INLINE explicit FourInputs(Dots fours) : x(fours) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const { add_pairs(_mm512_maddubs_epi16(x, weights), sum); }
};

template <>
struct FourInputs<Range::bytes> {
    static constexpr int32_t least_input = -128;
    __m512i size;
    __mmask64 negative;

    ALWAYS_INLINE explicit FourInputs(Dots fours) {
        const __m512i x = _mm512_xor_si512(fours, _mm512_set1_epi8(-128));
        size = _mm512_abs_epi8(x);
        negative = _mm512_movepi8_mask(x);
    }
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const {
        const __m512i turned = _mm512_mask_sub_epi8(weights, negative, _mm512_setzero_si512(), weights);
        add_pairs(_mm512_maddubs_epi16(size, turned), sum);
    }
};

#elif defined(__AVX2__)

typedef __m256i Dots;

#if defined(__AVXVNNI__)

constexpr DenseShares faster_dense{0.33, 0.14};
constexpr double faster_pixels = 0.12;
constexpr size_t registers_of_tile = 11;  // with 15, GCC stores sums at every step

template <Range>
struct FourInputs {
    static constexpr int32_t least_input = 0;
    __m256i x;

    ALWAYS_INLINE explicit FourInputs(Dots fours) : x(fours) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const { sum = _mm256_dpbusd_avx_epi32(sum, x, weights); }
};

#else

constexpr DenseShares faster_dense{0.31, 0.22};
constexpr double faster_pixels = 0.22;
constexpr size_t registers_of_tile = 9;

ALWAYS_INLINE void add_pairs(Dots products, Dots& sum) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products, _mm256_set1_epi16(1)));
}

template <Range>
struct FourInputs {
    static constexpr int32_t least_input = 0;
    __m256i x;

    ALWAYS_INLINE explicit FourInputs(Dots fours) : x(fours) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const { add_pairs(_mm256_maddubs_epi16(x, weights), sum); }
};

template <>
struct FourInputs<Range::bytes> {
    static constexpr int32_t least_input = -128;
    __m256i x, size;

    ALWAYS_INLINE explicit FourInputs(Dots fours)
        : x(_mm256_xor_si256(fours, _mm256_set1_epi8(-128))), size(_mm256_abs_epi8(x)) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const {
        add_pairs(_mm256_maddubs_epi16(size, _mm256_sign_epi8(weights, x)), sum);
    }
};

#endif

#elif defined(__aarch64__)

constexpr DenseShares faster_dense{0.4, 0.3};  // not measured
constexpr double faster_pixels = 0.25;
typedef int32x4_t Dots;

#if defined(__ARM_FEATURE_DOTPROD)
constexpr size_t registers_of_tile = 31;
#else
constexpr size_t registers_of_tile = 28;
#endif

// Both factors of a product have a sign.
template <Range>
struct FourInputs {
    static constexpr int32_t least_input = -128;
    int8x16_t x;

    ALWAYS_INLINE explicit FourInputs(Dots fours) : x(veorq_s8(vreinterpretq_s8_s32(fours), vdupq_n_s8(-128))) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const {
        const int8x16_t w = vreinterpretq_s8_s32(weights);
#if defined(__ARM_FEATURE_DOTPROD)
        sum = vdotq_s32(sum, x, w);
#else
        const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(w));
        sum = vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(x, w)));
#endif
    }
};

#elif defined(__SSE2__)

constexpr DenseShares faster_dense{0.1, 0.1};
constexpr double faster_pixels = 0.1;
constexpr size_t registers_of_tile = 13;
typedef __m128i Dots;

// As pairs of 16 bits, whose products have 32; of each neuron two are added up.
template <Range>
struct FourInputs {
    static constexpr int32_t least_input = 0;
    __m128i low, high;

    ALWAYS_INLINE explicit FourInputs(Dots fours)
        : low(_mm_unpacklo_epi8(fours, _mm_setzero_si128())), high(_mm_unpackhi_epi8(fours, _mm_setzero_si128())) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const {
        const __m128i before = _mm_madd_epi16(low, _mm_srai_epi16(_mm_unpacklo_epi8(weights, weights), 8));
        const __m128i after = _mm_madd_epi16(high, _mm_srai_epi16(_mm_unpackhi_epi8(weights, weights), 8));
        const auto pairs = [&](auto which) {
            constexpr int lanes_of = which;
            return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(before), _mm_castsi128_ps(after), lanes_of));
        };
        const __m128i both = _mm_add_epi32(pairs(std::integral_constant<int, 0x88>{}),
                                           pairs(std::integral_constant<int, 0xdd>{}));
        sum = _mm_add_epi32(sum, both);
    }
};

#else

constexpr DenseShares faster_dense{0.52, 0.5};
constexpr double faster_pixels = 0.5;
constexpr size_t registers_of_tile = 13;
typedef Integers Dots;

template <Range>
struct FourInputs {
    static constexpr int32_t least_input = 0;
    Dots x;

    ALWAYS_INLINE explicit FourInputs(Dots fours) : x(fours) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const {
        const auto* const bytes = reinterpret_cast<const uint8_t*>(&x);
        const auto* const w = reinterpret_cast<const int8_t*>(&weights);
        for (size_t lane = 0; lane < lanes; lane++) {
            int32_t products = 0;
            for (size_t i = lane * dot_inputs; i < (lane + 1) * dot_inputs; i++) products += bytes[i] * w[i];
            sum[lane] += static_cast<uint32_t>(products);
        }
    }
};

#endif

// Four bytes for all lanes.
ALWAYS_INLINE Dots everywhere_of_four(const uint8_t* at) {
    int32_t four;
    std::memcpy(&four, at, sizeof four);
#if defined(__AVX512F__)
    return reinterpret_cast<Dots>(_mm512_set1_epi32(four));
#elif defined(__AVX2__)
    return _mm256_set1_epi32(four);
#elif defined(__SSE2__)
    return _mm_set1_epi32(four);
#elif defined(__aarch64__)
    return vdupq_n_s32(four);
#else
    return static_cast<uint32_t>(four) - Dots{};
#endif
}

ALWAYS_INLINE Dots load_weights(const int8_t* at) {
    Dots weights;
    std::memcpy(&weights, at, sizeof weights);
    return weights;
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
