// Quads by AVX2: a branch is four tables of 16 bytes, each of which lies in both halves of a register. Products of
// bytes are added up in 16 bits, in pairs, where 127 · 127 · 2 just has room: so rows that are rounded here have
// inputs of seven bits. Bytes that come with eight are taken as 128 less, from -128 to 127, and the products are those
// of what they are without a sign and of the weight, which takes the sign over: 128 · 127 · 2 has room too. 128 times
// the sum of the weights is added in the end. With AVX-VNNI products are added up in 32 bits, and all that is not
// needed.
#pragma once

namespace sparbor::SPARBOR_KERNELS {
namespace {

#if defined(__AVXVNNI__)
constexpr int32_t levels = 255;
template <Range>
constexpr bool has_sign = false;
#else
constexpr int32_t levels = 127;
template <Range range>
constexpr bool has_sign = range == Range::bytes;
#endif
template <Range range>
constexpr int32_t least_input = has_sign<range> ? -128 : 0;  // what the byte 0 is in the sums
template <Range>
constexpr size_t most_tile_rows = 4;  // their sums lie in eight of the sixteen registers
template <size_t, Range>
constexpr size_t rows_together = 1;  // whose tables lie in registers

template <size_t rows>
struct QuadSums {
    static constexpr size_t chains = 1;
    __m256i at[rows][2] = {};  // of eight neurons each

    ALWAYS_INLINE Integers part(size_t row, size_t half) const { return reinterpret_cast<Integers>(at[row][half]); }
};

template <size_t rows, Range range>
struct QuadInputs {
    __m256i table[4];

    template <class Apart>
    ALWAYS_INLINE QuadInputs(const uint8_t* branch, const Apart& apart, size_t row) {
        const auto* const at = reinterpret_cast<const __m128i*>(branch + apart(row));
        UNROLL for (int i = 0; i < 4; i++) {
            table[i] = _mm256_broadcastsi128_si256(_mm_loadu_si128(at + i));
            if constexpr (has_sign<range>) table[i] = _mm256_xor_si256(table[i], _mm256_set1_epi8(-128));
        }
    }

    // The shuffles look at the low four bits of an index; bits 4 and 5, moved to the sign, steer the blends.
    ALWAYS_INLINE __m256i choose(__m256i index) const {
        const __m256i odd = _mm256_slli_epi16(index, 3), upper = _mm256_slli_epi16(index, 2);
        const __m256i low = _mm256_blendv_epi8(_mm256_shuffle_epi8(table[0], index),
                                               _mm256_shuffle_epi8(table[1], index), odd);
        const __m256i high = _mm256_blendv_epi8(_mm256_shuffle_epi8(table[2], index),
                                                _mm256_shuffle_epi8(table[3], index), odd);
        return _mm256_blendv_epi8(low, high, upper);
    }

    // Sums of two, of 16 bits.
    ALWAYS_INLINE static __m256i products(__m256i x, __m256i weight) {
        if constexpr (has_sign<range>) return _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(weight, x));
        else return _mm256_maddubs_epi16(x, weight);
    }

    template <size_t all>
    ALWAYS_INLINE void add(const uint8_t* indices, const int8_t* weights, QuadSums<all>& sums, size_t row,
                           size_t) const {
        UNROLL for (int half = 0; half < 2; half++) {
            const __m256i index = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(indices) + half);
            const __m256i weight = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights) + half);
            __m256i& sum = sums.at[row][half];
#if defined(__AVXVNNI__)
            sum = _mm256_dpbusd_avx_epi32(sum, choose(index), weight);
#else
            const __m256i pairs = products(choose(index), weight);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
        }
    }
};

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
