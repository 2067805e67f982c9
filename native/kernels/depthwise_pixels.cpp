// Depthwise convolutions of bytes that lie channels last: each channel has weights of its own, so lanes are channels. Four
// places of the kernel at a time, whose vectors of bytes are interleaved: the four bytes of a channel then lie together,
// and a dot product multiplies and adds them up.
#include "byte_dots.h"
#include "byte_ending.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t quarters = 4;  // of a vector of channels, whose sums take a vector each

#if defined(__AVX512BW__)
#define OF_BYTES(name) _mm512_##name
#elif defined(__AVX2__)
#define OF_BYTES(name) _mm256_##name
#elif defined(__SSE2__)
#define OF_BYTES(name) _mm_##name
#endif

#ifdef OF_BYTES
#if defined(__AVX512BW__)
typedef __m512i Raw;
#elif defined(__AVX2__)
typedef __m256i Raw;
#else
typedef __m128i Raw;
#endif

// Vectors are interleaved in each of their 128 bits, and so packed again.
ALWAYS_INLINE void interleave(const Raw (&x)[dot_inputs], Raw (&to)[quarters]) {
    const Raw low = OF_BYTES(unpacklo_epi8)(x[0], x[1]), high = OF_BYTES(unpackhi_epi8)(x[0], x[1]);
    const Raw low_after = OF_BYTES(unpacklo_epi8)(x[2], x[3]), high_after = OF_BYTES(unpackhi_epi8)(x[2], x[3]);
    to[0] = OF_BYTES(unpacklo_epi16)(low, low_after);
    to[1] = OF_BYTES(unpackhi_epi16)(low, low_after);
    to[2] = OF_BYTES(unpacklo_epi16)(high, high_after);
    to[3] = OF_BYTES(unpackhi_epi16)(high, high_after);
}

ALWAYS_INLINE Raw packed(const Wholes (&x)[quarters]) {
    const auto raw = [&](int at) { return reinterpret_cast<Raw>(x[at]); };
    return OF_BYTES(packus_epi16)(OF_BYTES(packs_epi32)(raw(0), raw(1)), OF_BYTES(packs_epi32)(raw(2), raw(3)));
}

#else

typedef uint8_t Raw __attribute__((vector_size(vector_bytes)));

#if defined(__aarch64__)
ALWAYS_INLINE void interleave(const Raw (&x)[dot_inputs], Raw (&to)[quarters]) {
    const auto shorts = [](uint8x16_t bytes) { return vreinterpretq_u16_u8(bytes); };
    const uint16x8_t low = shorts(vzip1q_u8(x[0], x[1])), high = shorts(vzip2q_u8(x[0], x[1]));
    const uint16x8_t low_after = shorts(vzip1q_u8(x[2], x[3])), high_after = shorts(vzip2q_u8(x[2], x[3]));
    to[0] = vreinterpretq_u8_u16(vzip1q_u16(low, low_after));
    to[1] = vreinterpretq_u8_u16(vzip2q_u16(low, low_after));
    to[2] = vreinterpretq_u8_u16(vzip1q_u16(high, high_after));
    to[3] = vreinterpretq_u8_u16(vzip2q_u16(high, high_after));
}
#else
ALWAYS_INLINE void interleave(const Raw (&x)[dot_inputs], Raw (&to)[quarters]) {
    UNROLL for (size_t i = 0; i < quarters * vector_bytes; i++)
        to[i / vector_bytes][i % vector_bytes] = x[i % dot_inputs][i / dot_inputs];
}
#endif

ALWAYS_INLINE Raw packed(const Wholes (&x)[quarters]) {
    Raw bytes{};
    UNROLL for (size_t i = 0; i < vector_bytes; i++) bytes[i] = static_cast<uint8_t>(x[i / lanes][i % lanes]);
    return bytes;
}

#endif

ALWAYS_INLINE Raw load_bytes(const uint8_t* at) {
    Raw bytes;
    std::memcpy(&bytes, at, sizeof bytes);
    return bytes;
}

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

ALWAYS_INLINE Raw bytes_of(const Results& results, const Requantization& to) {
    const Vector low = everywhere(to.low), high = everywhere(to.high);
    Wholes whole[quarters];
    UNROLL for (size_t i = 0; i < quarters; i++) {
        const Vector real = results.at[i / block_parts][i % block_parts], least = real > low ? real : low;
        whole[i] = rounded(least < high ? least : high) + to.zero;
    }
    return packed(whole);
}

// A vector of channels and the weights that it has: from pixel to pixel they are the same.
template <size_t known_fours>
struct Channels {
    using Inputs = FourInputs<Range::bytes>;
    const DepthwiseByteLayer& layer;
    const uint32_t* places;
    const Requantization& to;
    size_t number;  // of the vector

    ALWAYS_INLINE void add_four(size_t four, const uint8_t* x, Dots (&sums)[quarters]) const {
        const int8_t* const weights = layer.weights + (number * layer.fours + four) * quarters * vector_bytes;
        Raw taps[dot_inputs], together[quarters];
        UNROLL for (size_t i = 0; i < dot_inputs; i++) taps[i] = load_bytes(x + places[four * dot_inputs + i]);
        interleave(taps, together);
        UNROLL for (size_t i = 0; i < quarters; i++)
            Inputs(reinterpret_cast<Dots>(together[i])).add(load_weights(weights + i * vector_bytes), sums[i]);
    }

    ALWAYS_INLINE void store(const uint8_t* x, const uint8_t* residual, uint8_t* y, size_t count) const {
        Dots sums[quarters] = {};
        if constexpr (known_fours > 0)
            for_constants<known_fours>([&](auto four) __attribute__((always_inline)) { add_four(four, x, sums); });
        else
            for (size_t four = 0; four < layer.fours; four++) add_four(four, x, sums);
        Results results;
        UNROLL for (size_t i = 0; i < quarters; i++) {
            const size_t at = number * vector_bytes + i * lanes;
            Integers sum = reinterpret_cast<Integers>(sums[i]);
            if constexpr (Inputs::least_input != 0) sum -= load(layer.sums + at) * everywhere(Inputs::least_input);
            results.at[i / block_parts][i % block_parts] =
                __builtin_convertvector(reinterpret_cast<Wholes>(sum), Vector) * load(to.multiplier + at) +
                load(to.shift + at);
        }
        if (residual) add_residual(results, to, residual);
        if (to.map) results.map(to);
        store_bytes(y, reinterpret_cast<Bytes>(bytes_of(results, to)), count);
    }
};

template <size_t known_fours>
void all_rows(const DepthwiseByteLayer& layer, const uint32_t* places, const PixelRows& io, const Requantization& to) {
    for (size_t row = 0; row < io.rows; row++)
        for (size_t number = 0; number < layer.vectors; number++) {
            const Channels<known_fours> channels{layer, places, to, number};
            for (size_t column = 0; column < io.columns; column++) {
                const uint8_t* const x = io.x + row * io.x_row + column * io.x_pixel;
                const size_t y = (row * io.columns + column) * to.outputs;
                for (size_t at = number * vector_bytes; at < to.outputs; at += layer.vectors * vector_bytes)
                    channels.store(x + at, io.residual ? io.residual + y + at : nullptr, io.y + y + at,
                                   to.outputs - at);
            }
        }
}

}  // namespace

void depthwise_pixels(const DepthwiseByteLayer& layer, const uint32_t* places, const PixelRows& io,
                      const Requantization& to) {
    switch (layer.fours) {
        case 3: return all_rows<3>(layer, places, io, to);  // 3 x 3
        case 7: return all_rows<7>(layer, places, io, to);  // 5 x 5
    }
    all_rows<0>(layer, places, io, to);
}

}  // namespace sparbor::SPARBOR_KERNELS
