// Numbers as bytes of a value whose step and zero are known, and back. Without linkage, as vectors.h. Who includes this
// is compiled without fused multiply-adds.
#pragma once

#include "to_bytes.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// Of numbers that are given in steps of the result: the nearest whole numbers whose bytes are from `low` to `high`, which
// the zero is still to be added to. NaN becomes 0.
struct Rounding {
    int32_t zero;
    float low, high;

    ALWAYS_INLINE explicit Rounding(int32_t zero, int32_t lowest = 0, int32_t highest = 255)
        : zero(zero), low(static_cast<float>(lowest - zero)), high(static_cast<float>(highest - zero)) {}

    ALWAYS_INLINE Wholes whole(Vector steps) const {
        steps = steps == steps ? steps : Vector{};
        steps = steps < everywhere(low) ? everywhere(low) : steps;
        steps = steps > everywhere(high) ? everywhere(high) : steps;
        return rounded(steps);
    }

    uint8_t byte(float steps) const {
        const float known = steps == steps ? steps : 0;
        const float within = known < low ? low : known > high ? high : known;
        return static_cast<uint8_t>(static_cast<int32_t>(__builtin_rintf(within)) + zero);
    }
};

// As many bytes as a vector has lanes, as whole numbers.
typedef uint8_t LaneBytes __attribute__((vector_size(lanes), aligned(1), may_alias));
ALWAYS_INLINE Wholes wholes_of(const uint8_t* bytes) {
    return __builtin_convertvector(*reinterpret_cast<const LaneBytes*>(bytes), Wholes);
}

// Calls numbers(at, left) for vectors of a row of `count` numbers, of which `left` are left, and stores what it returns
// in steps as bytes; nothing is written beyond the row.
template <class Numbers>
ALWAYS_INLINE void store_row(const Rounding& rounding, size_t count, uint8_t* y, const Numbers& numbers) {
    for (size_t at = 0; at < count; at += vector_bytes) {
        Wholes whole[4] = {};
        UNROLL for (size_t i = 0; i < 4; i++)
            if (at + i * lanes < count) whole[i] = rounding.whole(numbers(at + i * lanes, count - at - i * lanes));
        const Bytes bytes = narrowed(whole, rounding.zero, 255);
        if (at + vector_bytes <= count) *reinterpret_cast<Bytes*>(y + at) = bytes;
        else std::memcpy(y + at, &bytes, count - at);
    }
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
