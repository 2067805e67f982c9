// Sums of whole numbers become bytes of pixels, in registers. Without linkage, as vectors.h. To be compiled so that no
// multiplication and addition become one.
#pragma once

#include "pixels.h"
#include "requantizing.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t block_parts = neuron_block / lanes;

typedef uint8_t BlockBytes __attribute__((vector_size(neuron_block), aligned(1), may_alias));

// Whole numbers from 0 to 255.
ALWAYS_INLINE BlockBytes to_block_bytes(const Wholes (&x)[block_parts]) {
#if defined(__AVX512F__)
    return reinterpret_cast<BlockBytes>(_mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(x[0])));
#elif defined(__AVX2__)
    const __m256i both = _mm256_packs_epi32(reinterpret_cast<__m256i>(x[0]), reinterpret_cast<__m256i>(x[1]));
    const __m256i in_order = _mm256_permute4x64_epi64(both, 0b11011000);
    return reinterpret_cast<BlockBytes>(
        _mm_packus_epi16(_mm256_castsi256_si128(in_order), _mm256_extracti128_si256(in_order, 1)));
#elif defined(__SSE2__)
    const auto two = [&](int at) {
        return _mm_packs_epi32(reinterpret_cast<__m128i>(x[at]), reinterpret_cast<__m128i>(x[at + 1]));
    };
    return reinterpret_cast<BlockBytes>(_mm_packus_epi16(two(0), two(2)));
#elif defined(__aarch64__)
    const auto two = [&](int at) {
        return vmovn_u16(vreinterpretq_u16_s16(vcombine_s16(vmovn_s32(x[at]), vmovn_s32(x[at + 1]))));
    };
    return vcombine_u8(two(0), two(2));
#else
    BlockBytes bytes;
    UNROLL for (size_t i = 0; i < neuron_block; i++) bytes[i] = static_cast<uint8_t>(x[i / lanes][i % lanes]);
    return bytes;
#endif
}

ALWAYS_INLINE Vector as_floats(Wholes wholes) { return __builtin_convertvector(wholes, Vector); }

// The results of some pixels for one block of neurons, in steps of y.
template <size_t pixels>
struct BlockResults {
    Vector at[pixels][block_parts];

    // From sum(pixel, part).
    template <class Sum>
    ALWAYS_INLINE void scale(const Requantization& to, size_t neuron, const Sum& sum) {
        UNROLL for (size_t part = 0; part < block_parts; part++) {
            const Vector multiplier = load(to.multiplier + neuron + part * lanes);
            const Vector shift = load(to.shift + neuron + part * lanes);
            UNROLL for (size_t pixel = 0; pixel < pixels; pixel++)
                at[pixel][part] =
                    as_floats(reinterpret_cast<Wholes>(sum(pixel, part))) * multiplier + shift;
        }
    }

    ALWAYS_INLINE void add(const Requantization& to, const uint8_t* residual) {
        const Vector step = everywhere(to.residual_step), zero = everywhere(static_cast<float>(to.residual_zero));
        UNROLL for (size_t pixel = 0; pixel < pixels; pixel++)
            UNROLL for (size_t part = 0; part < block_parts; part++)
                at[pixel][part] += (as_floats(wholes_of(residual + pixel * to.outputs + part * lanes)) - zero) * step;
    }

    ALWAYS_INLINE void map(const Requantization& to) {
        constexpr size_t count = pixels * neuron_block;
        alignas(vector_bytes) float values[count];
        const Vector step = everywhere(to.step);
        UNROLL for (size_t i = 0; i < pixels * block_parts; i++)
            store(values + i * lanes, at[i / block_parts][i % block_parts] * step);
        to.map(values, count, to.a, to.b);
        UNROLL for (size_t i = 0; i < pixels * block_parts; i++) {
            const Vector real = load(values + i * lanes) / step;
            at[i / block_parts][i % block_parts] = real == real ? real : Vector{};
        }
    }

    ALWAYS_INLINE BlockBytes bytes(const Requantization& to, size_t pixel) const {
        const Vector low = everywhere(to.low), high = everywhere(to.high);
        Wholes whole[block_parts];
        UNROLL for (size_t part = 0; part < block_parts; part++) {
            const Vector real = at[pixel][part], least = real > low ? real : low;
            whole[part] = rounded(least < high ? least : high) + to.zero;
        }
        return to_block_bytes(whole);
    }
};

// Writes the bytes of a block of neurons for some pixels, one after another, from sum(pixel, part). The residual, if
// there is one, lies as y does.
template <size_t pixels, class Sum>
ALWAYS_INLINE void store_block(const Requantization& to, size_t neuron, const Sum& sum, const uint8_t* residual,
                               uint8_t* y) {
    BlockResults<pixels> results;
    results.scale(to, neuron, sum);
    if (residual) results.add(to, residual);
    if (to.map) results.map(to);
    const size_t outputs = to.outputs, left = outputs - neuron;
    if (left >= neuron_block) {
        UNROLL for (size_t pixel = 0; pixel < pixels; pixel++)
            *reinterpret_cast<BlockBytes*>(y + pixel * outputs) = results.bytes(to, pixel);
    } else {
        UNROLL for (size_t pixel = 0; pixel < pixels; pixel++) {
            const BlockBytes bytes = results.bytes(to, pixel);
            std::memcpy(y + pixel * outputs, &bytes, left);
        }
    }
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
