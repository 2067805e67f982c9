// Sums of whole numbers become bytes of pixels, in registers. Without linkage, as vectors.h. To be compiled so that no
// multiplication and addition become one.
#pragma once

#include "byte_lanes.h"
#include "pixels.h"
#include "requantizing.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t block_parts = neuron_block / lanes;

constexpr size_t raw_blocks = vector_bytes / neuron_block;

typedef uint8_t BlockBytes __attribute__((vector_size(neuron_block), aligned(1), may_alias));

// Vectors of consecutive neurons have become bytes, each 128 bits of them a four of each vector's: puts the neurons in
// order.
ALWAYS_INLINE Raw in_order(Raw bytes) {
#if defined(__AVX512BW__)
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(order, bytes);
#elif defined(__AVX2__)
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#else
    static_assert(raw_blocks == 1);
    return bytes;
#endif
}

// Blocks of a vector, from one on.
template <size_t first, size_t count>
ALWAYS_INLINE void store_blocks_of(Raw bytes, uint8_t* y) {
#if defined(__AVX512BW__)
    if constexpr (count == 4) _mm512_storeu_si512(y, bytes);
    else if constexpr (count >= 2 && first % 2 == 0) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), _mm512_extracti64x4_epi64(bytes, first / 2));
        if constexpr (count > 2) store_blocks_of<first + 2, count - 2>(bytes, y + 2 * neuron_block);
    } else {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(y), _mm512_extracti32x4_epi32(bytes, first));
        if constexpr (count > 1) store_blocks_of<first + 1, count - 1>(bytes, y + neuron_block);
    }
#elif defined(__AVX2__)
    if constexpr (count == 2) _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), bytes);
    else _mm_storeu_si128(reinterpret_cast<__m128i*>(y), _mm256_extracti128_si256(bytes, first));
#else
    std::memcpy(y, &bytes, sizeof bytes);
#endif
}

ALWAYS_INLINE Vector as_floats(Wholes wholes) { return __builtin_convertvector(wholes, Vector); }

// The results of some pixels for some blocks of neurons, in steps of y, a pixel's side by side.
template <size_t pixels, size_t blocks = 1>
struct BlockResults {
    static constexpr size_t count = pixels * blocks;
    Vector at[count][block_parts];

    // From sum(pixel, block, part).
    template <class Sum>
    ALWAYS_INLINE void scale(const Requantization& to, size_t neuron, const Sum& sum) {
        UNROLL for (size_t i = 0; i < blocks * block_parts; i++) {
            const size_t block = i / block_parts, part = i % block_parts;
            const Vector multiplier = load(to.multiplier + neuron + i * lanes);
            const Vector shift = load(to.shift + neuron + i * lanes);
            UNROLL for (size_t pixel = 0; pixel < pixels; pixel++)
                at[pixel * blocks + block][part] =
                    as_floats(reinterpret_cast<Wholes>(sum(pixel, block, part))) * multiplier + shift;
        }
    }

    ALWAYS_INLINE void add(const Requantization& to, const uint8_t* residual) {
        const Vector step = everywhere(to.residual_step), zero = everywhere(static_cast<float>(to.residual_zero));
        UNROLL for (size_t pixel = 0; pixel < pixels; pixel++)
            UNROLL for (size_t i = 0; i < blocks * block_parts; i++)
                at[pixel * blocks + i / block_parts][i % block_parts] +=
                    (as_floats(wholes_of(residual + pixel * to.outputs + i * lanes)) - zero) * step;
    }

    ALWAYS_INLINE void map(const Requantization& to) {
        alignas(vector_bytes) float values[count * neuron_block];
        const Vector step = everywhere(to.step);
        UNROLL for (size_t i = 0; i < count * block_parts; i++)
            store(values + i * lanes, at[i / block_parts][i % block_parts] * step);
        to.map(values, count * neuron_block, to.a, to.b);
        UNROLL for (size_t i = 0; i < count * block_parts; i++) {
            const Vector real = load(values + i * lanes) / step;
            at[i / block_parts][i % block_parts] = real == real ? real : Vector{};
        }
    }

    // Calls use(bytes, first, number) for so many blocks from the first on, which fill a vector of bytes: those of whole
    // pixels if it has room for them.
    template <class Use>
    ALWAYS_INLINE void each_bytes(const Ending& ending, const Use& use) const {
        constexpr size_t together = blocks < raw_blocks ? raw_blocks / blocks * blocks : raw_blocks;
        static_assert(together % blocks == 0 || blocks % together == 0);
        for_constants<(count + together - 1) / together>([&](auto number) __attribute__((always_inline)) {
            constexpr size_t first = number * together, left = count - first < together ? count - first : together;
            Vector steps[quarters];
            for_constants<quarters>([&](auto i) __attribute__((always_inline)) {
                constexpr size_t block = i / block_parts < left ? i / block_parts : left - 1;
                steps[i] = at[first + block][i % block_parts];
            });
            use(in_order(ending.bytes(steps)), std::integral_constant<size_t, first>{},
                std::integral_constant<size_t, left>{});
        });
    }
};

// Writes the bytes of some blocks of neurons for some pixels, whose outputs follow each other, from
// sum(pixel, block, part). The residual, if there is one, lies as y does. Without `mapped` no activation follows but
// bounds, and nothing is called that the registers of all that goes on would have to be saved for.
template <size_t pixels, size_t blocks, bool mapped, class Sum>
ALWAYS_INLINE void store_blocks(const Requantization& to, const Ending& ending, size_t neuron, const Sum& sum,
                                const uint8_t* residual, uint8_t* y) {
    BlockResults<pixels, blocks> results;
    results.scale(to, neuron, sum);
    if (residual) results.add(to, residual);
    if constexpr (mapped)
        if (to.map) results.map(to);
    const size_t outputs = to.outputs, left = outputs - neuron;
    if (left >= blocks * neuron_block) {
        results.each_bytes(ending, [&](Raw bytes, auto first, auto number) __attribute__((always_inline)) {
            constexpr size_t run = number < blocks ? +number : blocks;  // of a pixel
            for_constants<number / run>([&](auto i) __attribute__((always_inline)) {
                constexpr size_t block = first + i * run;
                store_blocks_of<i * run, run>(bytes, y + block / blocks * outputs + block % blocks * neuron_block);
            });
        });
        return;
    }
    uint8_t whole[pixels][blocks * neuron_block];
    results.each_bytes(ending, [&](Raw bytes, auto first, auto number) __attribute__((always_inline)) {
        std::memcpy(whole[0] + first * neuron_block, &bytes, number * neuron_block);
    });
    for (size_t pixel = 0; pixel < pixels; pixel++) std::memcpy(y + pixel * outputs, whole[pixel], left);
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
