// Quads by AVX-512 without permutes of bytes: a branch is four tables of 16 bytes, each of which lies in all four
// parts of a register. Products of bytes are added up in 16 bits, in pairs, as by AVX2: so rows that are rounded here
// have inputs of seven bits, and bytes that come with eight are taken as 128 less.
#pragma once

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr int32_t levels = 127;
template <Range range>
constexpr bool has_sign = range == Range::bytes;
template <Range range>
constexpr int32_t least_input = has_sign<range> ? -128 : 0;  // what the byte 0 is in the sums
constexpr size_t most_tile_rows = 4;
template <size_t>
constexpr size_t rows_together = 1;  // whose tables lie in registers

template <size_t rows>
struct QuadSums {
    static constexpr size_t chains = 1;
    __m512i at[rows] = {};

    ALWAYS_INLINE Integers part(size_t row, size_t) const { return reinterpret_cast<Integers>(at[row]); }
};

template <size_t rows, Range range>
struct QuadInputs {
    __m512i table[4];

    template <class Apart>
    ALWAYS_INLINE QuadInputs(const uint8_t* branch, const Apart& apart, size_t row) {
        const auto* const at = reinterpret_cast<const __m128i*>(branch + apart(row));
        UNROLL for (int i = 0; i < 4; i++) {
            table[i] = _mm512_broadcast_i32x4(_mm_loadu_si128(at + i));
            if constexpr (has_sign<range>) table[i] = _mm512_xor_si512(table[i], _mm512_set1_epi8(-128));
        }
    }

    // The shuffles look at the low four bits of an index; bits 4 and 5, moved to the sign, choose the table.
    ALWAYS_INLINE __m512i choose(__m512i index) const {
        const __mmask64 odd = _mm512_movepi8_mask(_mm512_slli_epi16(index, 3));
        const __mmask64 upper = _mm512_movepi8_mask(_mm512_slli_epi16(index, 2));
        const __m512i low = _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(table[0], index), odd, table[1], index);
        const __m512i high = _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(table[2], index), odd, table[3], index);
        return _mm512_mask_blend_epi8(upper, low, high);
    }

    // Sums of two, of 16 bits.
    ALWAYS_INLINE static __m512i products(__m512i x, __m512i weight) {
        if constexpr (!has_sign<range>) return _mm512_maddubs_epi16(x, weight);
        const __m512i turned = _mm512_mask_sub_epi8(weight, _mm512_movepi8_mask(x), _mm512_setzero_si512(), weight);
        return _mm512_maddubs_epi16(_mm512_abs_epi8(x), turned);
    }

    template <size_t all>
    ALWAYS_INLINE void add(const uint8_t* indices, const int8_t* weights, QuadSums<all>& sums, size_t row,
                           size_t) const {
        const __m512i chosen = choose(_mm512_loadu_si512(indices));
        const __m512i pairs = products(chosen, _mm512_loadu_si512(weights));
        sums.at[row] = _mm512_add_epi32(sums.at[row], _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
    }
};

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
