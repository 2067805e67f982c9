// Quads by NEON: a branch is one table of four registers, in which 16 inputs are looked up at once. Both factors of a
// product have a sign: inputs are 128 less than their bytes, and 128 times the sum of the weights is added in the end.
#pragma once

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr int32_t levels = 255;
template <Range>
constexpr int32_t least_input = -128;  // what the byte 0 is in the sums
template <Range>
constexpr size_t most_tile_rows = 4;
constexpr int quarters_of_group = neuron_block / 4;  // the neurons of a register
template <size_t, Range>
constexpr size_t rows_together = 1;  // whose table lies in registers

template <size_t rows>
struct QuadSums {
    static constexpr size_t chains = 1;
    int32x4_t at[rows][quarters_of_group];

    ALWAYS_INLINE QuadSums() {
        UNROLL for (size_t row = 0; row < rows; row++)
            UNROLL for (int i = 0; i < quarters_of_group; i++) at[row][i] = vdupq_n_s32(0);
    }

    ALWAYS_INLINE Integers part(size_t row, size_t quarter) const {
        return reinterpret_cast<Integers>(at[row][quarter]);
    }
};

template <size_t rows, Range>
struct QuadInputs {
    int8x16x4_t table;

    template <class Apart>
    ALWAYS_INLINE QuadInputs(const uint8_t* branch, const Apart& apart, size_t row) {
        const uint8_t* const at = branch + apart(row);
        UNROLL for (int i = 0; i < 4; i++)
            table.val[i] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(at + 16 * i), vdupq_n_u8(0x80)));
    }

    template <size_t all>
    ALWAYS_INLINE void add(const uint8_t* indices, const int8_t* weights, QuadSums<all>& sums, size_t row,
                           size_t) const {
        UNROLL for (int i = 0; i < quarters_of_group; i++) {
            const int8x16_t chosen = vqtbl4q_s8(table, vld1q_u8(indices + 16 * i));  // 0 for padding
            const int8x16_t weight = vld1q_s8(weights + 16 * i);
            int32x4_t& sum = sums.at[row][i];
#if defined(__ARM_FEATURE_DOTPROD)
            sum = vdotq_s32(sum, chosen, weight);
#else
            // Of each neuron two numbers, the sums of two products: up to 2 · 128 · 127, for which there is room.
            const int16x8_t low = vmull_s8(vget_low_s8(chosen), vget_low_s8(weight));
            sum = vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(chosen, weight)));
#endif
        }
    }
};

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
