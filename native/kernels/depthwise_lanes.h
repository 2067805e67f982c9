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

// The first `count` results of the layer's vector of this number. Where `plain` is true there is neither a residual nor
// an activation but bounds, and so no call that the registers of all that goes on would have to be saved for.
template <bool plain>
ALWAYS_INLINE void store_channels(const DepthwiseByteLayer& layer, size_t number, const Dots (&sums)[quarters],
                                  const Requantization& to, const Ending& ending, const uint8_t* residual, uint8_t* y,
                                  size_t count) {
    constexpr int32_t least = FourInputs<Range::bytes>::least_input;
    Results results;
    UNROLL for (size_t i = 0; i < quarters; i++) {
        const size_t at = number * vector_bytes + i * lanes;
        Integers sum = reinterpret_cast<Integers>(sums[i]);
        if constexpr (least != 0) sum -= load(layer.sums + at) * everywhere(least);
        results.at[i / block_parts][i % block_parts] =
            __builtin_convertvector(reinterpret_cast<Wholes>(sum), Vector) * load(to.multiplier + at) +
            load(to.shift + at);
    }
    if constexpr (!plain) {
        if (residual) add_residual(results, to, residual);
        if (to.map) results.map(to);
    }
    Vector steps[quarters];
    UNROLL for (size_t i = 0; i < quarters; i++) steps[i] = results.at[i / block_parts][i % block_parts];
    store_bytes(y, reinterpret_cast<Bytes>(ending.bytes(steps)), count);
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
