// What the sums of a vector of channels become, which have the lanes of byte_lanes.h. Without linkage, as vectors.h.
#pragma once

#include "byte_dots.h"
#include "byte_ending.h"
#include "byte_lanes.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// The results of a vector of channels, in steps of y.
using Results = BlockResults<vector_bytes / neuron_block>;

ALWAYS_INLINE void add_residual(Results& results, const Requantization& to, const uint8_t* residual) {
    const Raw bytes[dot_inputs] = {load_bytes(residual)};
    Raw wide[quarters];
    interleave(bytes, wide);
    const Vector step = everywhere(to.residual_step), zero = everywhere(static_cast<float>(to.residual_zero));
    UNROLL for (size_t i = 0; i < quarters; i++)
        results.at[i / block_parts][i % block_parts] +=
            (__builtin_convertvector(reinterpret_cast<Wholes>(wide[i]), Vector) - zero) * step;
}

// What sums of one vector of channels become.
struct ChannelEnding {
    ALWAYS_INLINE ChannelEnding(const DepthwiseByteLayer& layer, const Requantization& given, size_t number)
        : to(given), ending(given) {
        for_constants<quarters>([&](auto i) __attribute__((always_inline)) {
            const size_t at = number * vector_bytes + i * lanes;
            multiplier[i] = load(given.multiplier + at);
            shift[i] = load(given.shift + at);
            weights[i] = load(layer.sums + at);
        });
    }

    const Requantization& to;
    Ending ending;
    Vector multiplier[quarters], shift[quarters];
    Integers weights[quarters];  // the sums of a channel's
};

// The first `count` results for some rows of outputs, `y_row` bytes apart. Where `plain` is true there is neither a
// residual nor an activation but bounds, and so no call that the registers of all that goes on would have to be saved
// for. Rows take turns, as each operation has to wait for the one before it.
template <bool plain, size_t rows>
ALWAYS_INLINE void store_channels(const ChannelEnding& with, const Dots (&sums)[rows][quarters],
                                  const uint8_t* residual, uint8_t* y, size_t y_row, size_t count) {
    constexpr int32_t least = FourInputs<Range::bytes>::least_input;
    Results results[rows];
    for_constants<quarters>([&](auto i) __attribute__((always_inline)) {
        for_constants<rows>([&](auto row) __attribute__((always_inline)) {
            Integers sum = reinterpret_cast<Integers>(sums[row][i]);
            if constexpr (least != 0) sum -= with.weights[i] * everywhere(least);
            results[row].at[i / block_parts][i % block_parts] =
                __builtin_convertvector(reinterpret_cast<Wholes>(sum), Vector) * with.multiplier[i] + with.shift[i];
        });
    });
    Raw bytes[rows];
    for_constants<rows>([&](auto row) __attribute__((always_inline)) {
        if constexpr (!plain) {
            if (residual) add_residual(results[row], with.to, residual + row * y_row);
            if (with.to.map) results[row].map(with.to);
        }
        Vector steps[quarters];
        for_constants<quarters>([&](auto i) __attribute__((always_inline)) {
            steps[i] = results[row].at[i / block_parts][i % block_parts];
        });
        bytes[row] = with.ending.bytes(steps);
    });
    for_constants<rows>([&](auto row) __attribute__((always_inline)) {
        store_bytes(y + row * y_row, reinterpret_cast<Bytes>(bytes[row]), count);
    });
}

}  // namespace

// `depthwise_pixels` for kernels of 3 x 3, whose layers have weights in an order of their own.
void depthwise_threes(const DepthwiseByteLayer&, const uint32_t*, const PixelRows&, const Requantization&);

}  // namespace sparbor::SPARBOR_KERNELS
