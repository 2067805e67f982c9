// Quads by AVX-512 without permutes of bytes: a branch is four tables of 16 bytes, each of which lies in all four
// parts of a register. Products of bytes are added up in 16 bits, in pairs, where 127 · 127 · 2 just has room: so
// inputs have seven bits.
#pragma once

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr int32_t levels = 127;
constexpr int32_t least_input = 0;  // what the byte 0 is in the sums
constexpr size_t most_tile_rows = 4;
template <size_t>
constexpr size_t rows_together = 1;  // whose tables lie in registers

template <size_t rows>
struct QuadSums {
    static constexpr size_t chains = 1;
    __m512i at[rows] = {};

    ALWAYS_INLINE Integers part(size_t row, size_t) const { return reinterpret_cast<Integers>(at[row]); }
};

template <size_t rows>
struct QuadInputs {
    __m512i table[4];

    ALWAYS_INLINE QuadInputs(const uint8_t* at, size_t) {
        UNROLL for (int i = 0; i < 4; i++)
            table[i] = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at) + i));
    }

    // The shuffles look at the low four bits of an index; bits 4 and 5, moved to the sign, choose the table.
    ALWAYS_INLINE __m512i choose(__m512i index) const {
        const __mmask64 odd = _mm512_movepi8_mask(_mm512_slli_epi16(index, 3));
        const __mmask64 upper = _mm512_movepi8_mask(_mm512_slli_epi16(index, 2));
        const __m512i low = _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(table[0], index), odd, table[1], index);
        const __m512i high = _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(table[2], index), odd, table[3], index);
        return _mm512_mask_blend_epi8(upper, low, high);
    }

    template <size_t all>
    ALWAYS_INLINE void add(const uint8_t* indices, const int8_t* weights, QuadSums<all>& sums, size_t row,
                           size_t) const {
        const __m512i chosen = choose(_mm512_loadu_si512(indices));
        const __m512i pairs = _mm512_maddubs_epi16(chosen, _mm512_loadu_si512(weights));
        sums.at[row] = _mm512_add_epi32(sums.at[row], _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
    }
};

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
