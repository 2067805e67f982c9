// Floats as bytes and back, whether a pixel's channels lie one after another or those of each channel do. Without
// linkage, as vectors.h.
#pragma once

#include "bytes.h"
#include "requantizing.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t quarter_bytes = 16, quarters = vector_bytes / quarter_bytes;  // of a vector
constexpr size_t block_channels = quarter_bytes;  // that are turned at once, for as many pixels as there are lanes

// Of each two quarters the numbers in turn, one or two at a time, from their first or their second half on.
template <size_t run, bool upper>
ALWAYS_INLINE Integers quarters_in_turn(Integers a, Integers b) {
    Integers which;
    UNROLL for (size_t lane = 0; lane < lanes; lane++) {
        const size_t within = lane % 4, turn = within / run % 2, at = within / (2 * run) * run + within % run;
        which[lane] = static_cast<uint32_t>(lane - within + at + (upper ? 2 : 0) + turn * lanes);
    }
    return shuffled(a, b, which);
}

// Number j of quarter q of vector i becomes number i of quarter q of vector j.
ALWAYS_INLINE void turn_quarters(Integers (&four)[4]) {
    const Integers a = quarters_in_turn<1, false>(four[0], four[1]), b = quarters_in_turn<1, true>(four[0], four[1]);
    const Integers c = quarters_in_turn<1, false>(four[2], four[3]), d = quarters_in_turn<1, true>(four[2], four[3]);
    four[0] = quarters_in_turn<2, false>(a, c);
    four[1] = quarters_in_turn<2, true>(a, c);
    four[2] = quarters_in_turn<2, false>(b, d);
    four[3] = quarters_in_turn<2, true>(b, d);
}

ALWAYS_INLINE Rounding rounding_to(const ByteRange& range) {
    return {range.zero, static_cast<float>(-range.zero), static_cast<float>(255 - range.zero)};
}

// Up to four channels of as many pixels as there are lanes: the bytes of a pixel as one number. Those of channel i are
// bytes(i).
template <class Bytes>
ALWAYS_INLINE Integers joined(size_t channels, const Bytes& bytes) {
    Integers all = {};
    UNROLL for (size_t i = 0; i < 4; i++) {
        if (i >= channels) break;
        all |= reinterpret_cast<Integers>(bytes(i)) << (8 * i);
    }
    return all;
}

// Some channels of planes as pixels, from bytes(channel, pixel, pixels that are left), a vector of whole numbers. Those
// that are joined are turned by quarters: then each quarter is sixteen channels of one pixel. All sixteen are written
// where the pixels that follow have room for them.
template <class Bytes>
ALWAYS_INLINE void interleave_block(size_t pixels, size_t all_channels, size_t channel, size_t channels, uint8_t* y,
                                    const Bytes& bytes) {
    for (size_t pixel = 0; pixel < pixels; pixel += lanes) {
        const size_t left = pixels - pixel;
        Integers four[4] = {};
        UNROLL for (size_t i = 0; i < 4; i++) {
            if (4 * i >= channels) break;
            four[i] = joined(channels - 4 * i, [&](size_t j) __attribute__((always_inline)) {
                return bytes(channel + 4 * i + j, pixel, left);
            });
        }
        turn_quarters(four);
        uint8_t* const to = y + pixel * all_channels + channel;
        const bool roomy = left > lanes && (left - lanes) * all_channels >= quarter_bytes;
        UNROLL for (size_t i = 0; i < lanes; i++) {
            const auto* const from = reinterpret_cast<const char*>(&four[i % 4]) + i / 4 * quarter_bytes;
            if (roomy) std::memcpy(to + i * all_channels, from, quarter_bytes);
            else if (i < left) std::memcpy(to + i * all_channels, from, channels);
        }
    }
}

#if defined(__AVX2__) || defined(__aarch64__)
constexpr bool permutes_bytes = true;

// Of each quarter the bytes at these places.
ALWAYS_INLINE Integers in_order(Integers numbers, const uint8_t (&places)[quarter_bytes]) {
#if defined(__AVX512BW__)
    const __m512i order = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(places)));
    return reinterpret_cast<Integers>(_mm512_shuffle_epi8(reinterpret_cast<__m512i>(numbers), order));
#elif defined(__AVX2__)
    const __m256i order = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(places)));
    return reinterpret_cast<Integers>(_mm256_shuffle_epi8(reinterpret_cast<__m256i>(numbers), order));
#else
    return vreinterpretq_u32_u8(vqtbl1q_u8(vreinterpretq_u8_u32(numbers), vld1q_u8(places)));
#endif
}

#else
constexpr bool permutes_bytes = false;
inline Integers in_order(Integers numbers, const uint8_t (&)[quarter_bytes]) { return numbers; }  // is not called
#endif

// The same of one to four channels, those of an image: of each number as many bytes are kept, one pixel after the
// other.
template <class Bytes>
ALWAYS_INLINE void interleave_few(size_t pixels, size_t channels, uint8_t* y, const Bytes& bytes) {
    const size_t quarter = 4 * channels;
    uint8_t places[quarter_bytes] = {};
    for (size_t i = 0; i < quarter; i++) places[i] = static_cast<uint8_t>(i / channels * 4 + i % channels);
    for (size_t pixel = 0; pixel < pixels; pixel += lanes, y += lanes * channels) {
        const size_t left = pixels - pixel;
        const Integers four = joined(channels, [&](size_t i) __attribute__((always_inline)) {
            return bytes(i, pixel, left);
        });
        const Integers kept = in_order(four, places);
        const auto* const from = reinterpret_cast<const char*>(&kept);
        const bool roomy = left * channels >= (quarters - 1) * quarter + quarter_bytes;
        UNROLL for (size_t i = 0; i < quarters; i++) {
            const size_t here = left < 4 * i ? 0 : left < 4 * i + 4 ? left - 4 * i : 4;  // pixels
            if (roomy) std::memcpy(y + i * quarter, from + i * quarter_bytes, quarter_bytes);
            else std::memcpy(y + i * quarter, from + i * quarter_bytes, here * channels);
        }
    }
}

// What is no whole block comes first, since it may write over the others' channels.
template <class Bytes>
ALWAYS_INLINE void interleave(size_t pixels, size_t channels, uint8_t* y, const Bytes& bytes) {
    if (permutes_bytes && channels <= 4) return interleave_few(pixels, channels, y, bytes);
    const size_t whole = channels / block_channels * block_channels;
    if (whole < channels) interleave_block(pixels, channels, whole, channels - whole, y, bytes);
    for (size_t channel = 0; channel < whole; channel += block_channels)
        interleave_block(pixels, channels, channel, block_channels, y, bytes);
}

void quantize_planes(const float* x, const PixelSteps& steps, const ByteRange& range, uint8_t* y) {
    const Rounding rounding = rounding_to(range);
    interleave(steps.pixels, steps.channels, y, [&](size_t channel, size_t pixel, size_t left)
                                                    __attribute__((always_inline)) {
        const float* const from = x + channel * steps.channel + pixel;
        return rounding.whole(load_between(from, 0, static_cast<int64_t>(left)) / range.step) + range.zero;
    });
}

void quantize_row(const float* x, size_t count, const ByteRange& range, uint8_t* y) {
    store_row(rounding_to(range), count, y, [&](size_t at, size_t left) __attribute__((always_inline)) {
        return load_between(x + at, 0, static_cast<int64_t>(left)) / range.step;
    });
}

void quantize(const float* x, const PixelSteps& steps, const ByteRange& range, uint8_t* y) {
    const size_t channels = steps.channels;
    if (steps.channel == 1 && steps.pixel == channels) return quantize_row(x, steps.pixels * channels, range, y);
    if (steps.channel == 1) {
        for (size_t i = 0; i < steps.pixels; i++) quantize_row(x + i * steps.pixel, channels, range, y + i * channels);
        return;
    }
    if (steps.pixel == 1) return quantize_planes(x, steps, range, y);
    const Rounding rounding = rounding_to(range);
    for (size_t i = 0; i < steps.pixels; i++)
        for (size_t j = 0; j < channels; j++)
            y[i * channels + j] = rounding.byte(x[i * steps.pixel + j * steps.channel] / range.step);
}

// Sixteen bytes of as many pixels as a vector has quarters.
ALWAYS_INLINE Integers gathered(const uint8_t* at, size_t stride) {
#if defined(__AVX512F__)
    const auto part = [&](size_t i) __attribute__((always_inline)) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + i * stride));
    };
    __m512i all = _mm512_castsi128_si512(part(0));
    all = _mm512_inserti32x4(all, part(1), 1);
    all = _mm512_inserti32x4(all, part(2), 2);
    return reinterpret_cast<Integers>(_mm512_inserti32x4(all, part(3), 3));
#elif defined(__AVX2__)
    return reinterpret_cast<Integers>(_mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(at + stride),
                                                          reinterpret_cast<const __m128i*>(at)));
#else
    Integers all;
    UNROLL for (size_t i = 0; i < quarters; i++)
        std::memcpy(reinterpret_cast<char*>(&all) + i * quarter_bytes, at + i * stride, quarter_bytes);
    return all;
#endif
}

// The numbers of bytes.
ALWAYS_INLINE Vector number_of(Wholes byte, const ByteRange& range) {
    return __builtin_convertvector(byte - range.zero, Vector) * range.step;
}

// The way back.
ALWAYS_INLINE void dequantize_block(const uint8_t* x, const ByteRange& range, float* y, const PixelSteps& steps,
                                    size_t channel, size_t channels) {
    for (size_t pixel = 0; pixel < steps.pixels; pixel += lanes) {
        const size_t left = steps.pixels - pixel;
        const uint8_t* from = x + pixel * steps.channels + channel;
        size_t stride = steps.channels;
        uint8_t last[lanes * quarter_bytes] = {};
        if (left < lanes) {
            for (size_t i = 0; i < left; i++) std::memcpy(last + i * quarter_bytes, from + i * stride, quarter_bytes);
            from = last;
            stride = quarter_bytes;
        }
        Integers four[4];
        UNROLL for (size_t i = 0; i < 4; i++) four[i] = gathered(from + i * stride, 4 * stride);
        turn_quarters(four);
        UNROLL for (size_t i = 0; i < 4; i++) {
            if (4 * i >= channels) break;
            UNROLL for (size_t j = 0; j < 4; j++) {
                if (4 * i + j >= channels) break;
                const auto byte = reinterpret_cast<Wholes>(four[i] >> (8 * j) & 255);
                store_first(y + (channel + 4 * i + j) * steps.channel + pixel, number_of(byte, range),
                            static_cast<int64_t>(left));
            }
        }
    }
}

void dequantize_row(const uint8_t* x, const ByteRange& range, float* y, size_t count) {
    for (size_t at = 0; at < count; at += lanes)
        store_first(y + at, number_of(wholes_of(x + at), range), static_cast<int64_t>(count - at));
}

void dequantize(const uint8_t* x, const ByteRange& range, float* y, const PixelSteps& steps) {
    const size_t channels = steps.channels;
    if (steps.channel == 1) {
        for (size_t i = 0; i < steps.pixels; i++)
            dequantize_row(x + i * channels, range, y + i * steps.pixel, channels);
        return;
    }
    if (steps.pixel == 1) {
        const size_t whole = channels / block_channels * block_channels;
        for (size_t channel = 0; channel < whole; channel += block_channels)
            dequantize_block(x, range, y, steps, channel, block_channels);
        if (whole < channels) dequantize_block(x, range, y, steps, whole, channels - whole);
        return;
    }
    for (size_t i = 0; i < steps.pixels; i++)
        for (size_t j = 0; j < channels; j++)
            y[i * steps.pixel + j * steps.channel] =
                static_cast<float>(static_cast<int32_t>(x[i * channels + j]) - range.zero) * range.step;
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
