// Quads by AVX-512 without permutes of bytes. Rows that are rounded here have inputs of seven bits: then products of
// bytes can be added up in 16 bits, in pairs, where 127 · 127 · 2 just has room, and a branch is four tables of 16
// bytes, each of which lies in all four parts of a register. Bytes that come with eight bits are multiplied as numbers
// of 16, and a branch is one table of 32 pairs of bytes: few rows take longer so, many of them less.
#pragma once

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr int32_t levels = 127;
template <Range>
constexpr int32_t least_input = 0;  // what the byte 0 is in the sums
template <Range range>
constexpr size_t most_tile_rows = range == Range::bytes ? 8 : 4;
template <size_t rows, Range range>
constexpr size_t rows_together = range == Range::bytes ? rows : 1;  // whose tables lie in registers

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
        UNROLL for (int i = 0; i < 4; i++) table[i] = _mm512_broadcast_i32x4(_mm_loadu_si128(at + i));
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

// Inputs and weights with even indices, and with odd ones, as numbers of 16 bits.
template <size_t rows>
struct QuadInputs<rows, Range::bytes> {
    __m512i x[rows];

    template <class Apart>
    ALWAYS_INLINE QuadInputs(const uint8_t* at, const Apart& apart, size_t first) {
        UNROLL for (size_t row = 0; row < rows; row++) x[row] = _mm512_loadu_si512(at + apart(first + row));
    }

    // The byte of each pair that the shift brings down.
    ALWAYS_INLINE static __m512i choose(__m512i pairs, __m512i pair, __m512i shift) {
        const __m512i chosen = _mm512_srlv_epi16(_mm512_permutexvar_epi16(pair, pairs), shift);
        return _mm512_and_si512(chosen, _mm512_set1_epi16(255));
    }

    // The permutes look at the low five bits of a pair's number.
    template <size_t all>
    ALWAYS_INLINE void add(const uint8_t* indices, const int8_t* weights, QuadSums<all>& sums, size_t first,
                           size_t) const {
        const __m512i index = _mm512_loadu_si512(indices), weight = _mm512_loadu_si512(weights);
        const __m512i eight = _mm512_set1_epi16(8);
        const __m512i even_pair = _mm512_srli_epi16(index, 1), odd_pair = _mm512_srli_epi16(index, 9);
        const __m512i even_shift = _mm512_and_si512(_mm512_slli_epi16(index, 3), eight);
        const __m512i odd_shift = _mm512_and_si512(_mm512_srli_epi16(index, 5), eight);
        const __m512i even_weight = _mm512_srai_epi16(_mm512_slli_epi16(weight, 8), 8);
        const __m512i odd_weight = _mm512_srai_epi16(weight, 8);
        UNROLL for (size_t row = 0; row < rows; row++) {
            const __m512i even = _mm512_madd_epi16(choose(x[row], even_pair, even_shift), even_weight);
            const __m512i odd = _mm512_madd_epi16(choose(x[row], odd_pair, odd_shift), odd_weight);
            sums.at[first + row] = _mm512_add_epi32(sums.at[first + row], _mm512_add_epi32(even, odd));
        }
    }
};

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
