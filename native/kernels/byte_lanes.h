// Vectors of bytes that become four of numbers with room for sums, and back. Without linkage, as vectors.h.
//
// Of each 128 bits, the first numbers are those of the first of the four: quarters of vectors, not a row in order.
#pragma once

#include "bytes.h"
#include "rounding.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t quarters = 4;  // of a vector of bytes, whose sums take a vector each

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

// Vectors are interleaved in each of their 128 bits.
ALWAYS_INLINE void interleave(const Raw (&x)[4], Raw (&to)[quarters]) {
    const Raw low = OF_BYTES(unpacklo_epi8)(x[0], x[1]), high = OF_BYTES(unpackhi_epi8)(x[0], x[1]);
    const Raw low_after = OF_BYTES(unpacklo_epi8)(x[2], x[3]), high_after = OF_BYTES(unpackhi_epi8)(x[2], x[3]);
    to[0] = OF_BYTES(unpacklo_epi16)(low, low_after);
    to[1] = OF_BYTES(unpackhi_epi16)(low, low_after);
    to[2] = OF_BYTES(unpacklo_epi16)(high, high_after);
    to[3] = OF_BYTES(unpackhi_epi16)(high, high_after);
}

ALWAYS_INLINE Raw everywhere_byte(int32_t byte) { return OF_BYTES(set1_epi8)(static_cast<char>(byte)); }

// How results that are given in steps become bytes, in registers that are filled once for many of them.
// What is not below `low` need not be so before it is rounded: packing keeps what is too small at the smallest number
// there is. What is too large has to be, as it may be no whole number of 32 bits.
class Ending {
public:
    ALWAYS_INLINE explicit Ending(const ByteEnding& to)
        : high_(everywhere(to.high)), zero_(OF_BYTES(set1_epi16)(static_cast<int16_t>(to.zero))),
          low_(everywhere_byte(static_cast<int32_t>(to.low) + to.zero)) {}

    ALWAYS_INLINE Raw bytes(const Vector (&steps)[quarters]) const {
        Raw whole[quarters];
        UNROLL for (size_t i = 0; i < quarters; i++)
            whole[i] = reinterpret_cast<Raw>(rounded(steps[i] < high_ ? steps[i] : high_));
        const Raw before = OF_BYTES(adds_epi16)(OF_BYTES(packs_epi32)(whole[0], whole[1]), zero_);
        const Raw after = OF_BYTES(adds_epi16)(OF_BYTES(packs_epi32)(whole[2], whole[3]), zero_);
        return OF_BYTES(max_epu8)(OF_BYTES(packus_epi16)(before, after), low_);
    }

private:
    Vector high_;
    Raw zero_, low_;
};

#else

typedef uint8_t Raw __attribute__((vector_size(vector_bytes)));

#if defined(__aarch64__)
ALWAYS_INLINE void interleave(const Raw (&x)[4], Raw (&to)[quarters]) {
    const auto shorts = [](uint8x16_t bytes) { return vreinterpretq_u16_u8(bytes); };
    const uint16x8_t low = shorts(vzip1q_u8(x[0], x[1])), high = shorts(vzip2q_u8(x[0], x[1]));
    const uint16x8_t low_after = shorts(vzip1q_u8(x[2], x[3])), high_after = shorts(vzip2q_u8(x[2], x[3]));
    to[0] = vreinterpretq_u8_u16(vzip1q_u16(low, low_after));
    to[1] = vreinterpretq_u8_u16(vzip2q_u16(low, low_after));
    to[2] = vreinterpretq_u8_u16(vzip1q_u16(high, high_after));
    to[3] = vreinterpretq_u8_u16(vzip2q_u16(high, high_after));
}
#else
ALWAYS_INLINE void interleave(const Raw (&x)[4], Raw (&to)[quarters]) {
    UNROLL for (size_t i = 0; i < quarters * vector_bytes; i++)
        to[i / vector_bytes][i % vector_bytes] = x[i % dot_inputs][i / dot_inputs];
}
#endif

class Ending {
public:
    ALWAYS_INLINE explicit Ending(const ByteEnding& to)
        : low_(everywhere(to.low)), high_(everywhere(to.high)), zero_(to.zero) {}

    ALWAYS_INLINE Raw bytes(const Vector (&steps)[quarters]) const {
        Raw bytes{};
        UNROLL for (size_t i = 0; i < quarters; i++) {
            const Vector least = steps[i] > low_ ? steps[i] : low_;
            const Wholes whole = rounded(least < high_ ? least : high_) + zero_;
            UNROLL for (size_t lane = 0; lane < lanes; lane++)
                bytes[lane / 4 * 16 + i * 4 + lane % 4] = static_cast<uint8_t>(whole[lane]);
        }
        return bytes;
    }

private:
    Vector low_, high_;
    int32_t zero_;
};

#endif

ALWAYS_INLINE Raw load_bytes(const uint8_t* at) {
    Raw bytes;
    std::memcpy(&bytes, at, sizeof bytes);
    return bytes;
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
