// Quads in plain C++, byte by byte.
#pragma once

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr int32_t levels = 255;
template <Range>
constexpr int32_t least_input = 0;  // what the byte 0 is in the sums
template <Range>
constexpr size_t most_tile_rows = 1;
template <size_t, Range>
constexpr size_t rows_together = 1;

template <size_t rows>
struct QuadSums {
    static constexpr size_t chains = 1;
    int32_t at[rows][neuron_block] = {};

    ALWAYS_INLINE Integers part(size_t row, size_t part) const {
        Integers some;
        std::memcpy(&some, at[row] + part * lanes, sizeof some);
        return some;
    }
};

template <size_t rows, Range>
struct QuadInputs {
    const uint8_t* x;

    template <class Apart>
    ALWAYS_INLINE QuadInputs(const uint8_t* at, const Apart& apart, size_t row) : x(at + apart(row)) {}

    template <size_t all>
    ALWAYS_INLINE void add(const uint8_t* indices, const int8_t* weights, QuadSums<all>& sums, size_t row,
                           size_t) const {
        for (size_t lane = 0; lane < neuron_block; lane++) {
            int32_t sum = 0;
            UNROLL for (size_t i = lane * quad_synapses; i < (lane + 1) * quad_synapses; i++)
                sum += x[indices[i] % quad_branch] * weights[i];  // padding has the weight 0
            sums.at[row][lane] += sum;
        }
    }
};

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
