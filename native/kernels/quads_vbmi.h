// Quads by AVX-512 with VBMI and VNNI: one permute of bytes fetches the inputs of a quad, and one dot product
// multiplies them by its weights and adds them to the sums, for all rows of a tile before the next quad.
#pragma once

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr int32_t levels = 255;
template <Range>
constexpr int32_t least_input = 0;  // what the byte 0 is in the sums
template <Range>
constexpr size_t most_tile_rows = 8;  // their results stay in the first cache; there are registers for twelve
template <size_t rows, Range>
constexpr size_t rows_together = rows;

// Few rows have several chains of additions, to hide how long each takes.
template <size_t rows>
struct QuadSums {
    static constexpr size_t chains = rows == 1 ? 4 : rows <= 3 ? 2 : 1;
    __m512i at[rows][chains] = {};

    ALWAYS_INLINE Integers part(size_t row, size_t) const {
        __m512i total = at[row][0];
        UNROLL for (size_t chain = 1; chain < chains; chain++) total = _mm512_add_epi32(total, at[row][chain]);
        return reinterpret_cast<Integers>(total);
    }
};

template <size_t rows, Range>
struct QuadInputs {
    __m512i x[rows];

    template <class Apart>
    ALWAYS_INLINE QuadInputs(const uint8_t* at, const Apart& apart, size_t first) {
        UNROLL for (size_t row = 0; row < rows; row++) x[row] = _mm512_loadu_si512(at + apart(first + row));
    }

    template <size_t all>
    ALWAYS_INLINE void add(const uint8_t* indices, const int8_t* weights, QuadSums<all>& sums, size_t,
                           size_t chain) const {
        const __m512i index = _mm512_loadu_si512(indices);
        __m512i weight = _mm512_loadu_si512(weights);
        if constexpr (rows > 1) asm("" : "+v"(weight));  // or it is loaded once for each row
        UNROLL for (size_t row = 0; row < rows; row++) {
            __m512i& sum = sums.at[row][chain % QuadSums<all>::chains];
            sum = _mm512_dpbusd_epi32(sum, _mm512_permutexvar_epi8(index, x[row]), weight);
        }
    }
};

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
