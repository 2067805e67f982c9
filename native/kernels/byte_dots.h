// Four bytes of a row times four weights of each neuron of a group, which are added up. Without linkage, as vectors.h.
//
// Sums of products of bytes have 16 bits on some processors, where two of 127 · 127 have room and two of 255 · 127 do
// not. Where any byte may come there, inputs are 128 less than their bytes: |x - 128| times ±w, two of at most
// 128 · 127, has room, and 128 times the sum of the weights is added in the end.
#pragma once

#include <type_traits>

#include "dense_bytes.h"
#include "row_tiles.h"
#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t parts = neuron_block / lanes;  // registers that the sums of a group take
constexpr size_t dot_bytes = neuron_block * dot_inputs;  // of their weights

#if defined(__AVX512VNNI__)

constexpr DenseShares faster_dense{0.45, 0.6};  // over one row, and over several
constexpr size_t registers_of_tile = 31;  // that sums, weights and inputs may take
typedef __m512i Dots;

template <Range>
struct FourInputs {
    static constexpr int32_t least_input = 0;  // what the byte 0 is in the sums
    __m512i x;

    ALWAYS_INLINE explicit FourInputs(int32_t four) : x(_mm512_set1_epi32(four)) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const { sum = _mm512_dpbusd_epi32(sum, x, weights); }
};

#elif defined(__AVX512BW__)

constexpr DenseShares faster_dense{0.43, 0.29};
constexpr size_t registers_of_tile = 29;
typedef __m512i Dots;

ALWAYS_INLINE void add_pairs(Dots products, Dots& sum) {
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(products, _mm512_set1_epi16(1)));
}

template <Range>
struct FourInputs {
    static constexpr int32_t least_input = 0;
    __m512i x;

    ALWAYS_INLINE explicit FourInputs(int32_t four) : x(_mm512_set1_epi32(four)) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const { add_pairs(_mm512_maddubs_epi16(x, weights), sum); }
};

template <>
struct FourInputs<Range::bytes> {
    static constexpr int32_t least_input = -128;
    __m512i size;
    __mmask64 negative;

    ALWAYS_INLINE explicit FourInputs(int32_t four) {
        const __m512i x = _mm512_xor_si512(_mm512_set1_epi32(four), _mm512_set1_epi8(-128));
        size = _mm512_abs_epi8(x);
        negative = _mm512_movepi8_mask(x);
    }
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const {
        const __m512i turned = _mm512_mask_sub_epi8(weights, negative, _mm512_setzero_si512(), weights);
        add_pairs(_mm512_maddubs_epi16(size, turned), sum);
    }
};

#elif defined(__AVX2__)

typedef __m256i Dots;

#if defined(__AVXVNNI__)

constexpr DenseShares faster_dense{0.33, 0.2};
constexpr size_t registers_of_tile = 11;  // with 15, GCC stores sums at every step

template <Range>
struct FourInputs {
    static constexpr int32_t least_input = 0;
    __m256i x;

    ALWAYS_INLINE explicit FourInputs(int32_t four) : x(_mm256_set1_epi32(four)) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const { sum = _mm256_dpbusd_avx_epi32(sum, x, weights); }
};

#else

constexpr DenseShares faster_dense{0.31, 0.22};
constexpr size_t registers_of_tile = 9;

ALWAYS_INLINE void add_pairs(Dots products, Dots& sum) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products, _mm256_set1_epi16(1)));
}

template <Range>
struct FourInputs {
    static constexpr int32_t least_input = 0;
    __m256i x;

    ALWAYS_INLINE explicit FourInputs(int32_t four) : x(_mm256_set1_epi32(four)) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const { add_pairs(_mm256_maddubs_epi16(x, weights), sum); }
};

template <>
struct FourInputs<Range::bytes> {
    static constexpr int32_t least_input = -128;
    __m256i x, size;

    ALWAYS_INLINE explicit FourInputs(int32_t four)
        : x(_mm256_xor_si256(_mm256_set1_epi32(four), _mm256_set1_epi8(-128))), size(_mm256_abs_epi8(x)) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const {
        add_pairs(_mm256_maddubs_epi16(size, _mm256_sign_epi8(weights, x)), sum);
    }
};

#endif

#elif defined(__aarch64__)

constexpr DenseShares faster_dense{0.4, 0.3};  // not measured
typedef int32x4_t Dots;

#if defined(__ARM_FEATURE_DOTPROD)
constexpr size_t registers_of_tile = 31;
#else
constexpr size_t registers_of_tile = 28;
#endif

// Both factors of a product have a sign.
template <Range>
struct FourInputs {
    static constexpr int32_t least_input = -128;
    int8x16_t x;

    ALWAYS_INLINE explicit FourInputs(int32_t four)
        : x(veorq_s8(vreinterpretq_s8_s32(vdupq_n_s32(four)), vdupq_n_s8(-128))) {}
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const {
        const int8x16_t w = vreinterpretq_s8_s32(weights);
#if defined(__ARM_FEATURE_DOTPROD)
        sum = vdotq_s32(sum, x, w);
#else
        const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(w));
        sum = vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(x, w)));
#endif
    }
};

#else

constexpr DenseShares faster_dense{0.52, 0.5};
constexpr size_t registers_of_tile = 13;
typedef Integers Dots;

template <Range>
struct FourInputs {
    static constexpr int32_t least_input = 0;
    uint8_t x[dot_inputs];

    ALWAYS_INLINE explicit FourInputs(int32_t four) { std::memcpy(x, &four, sizeof x); }
    ALWAYS_INLINE void add(Dots weights, Dots& sum) const {
        const auto* const w = reinterpret_cast<const int8_t*>(&weights);
        for (size_t lane = 0; lane < lanes; lane++) {
            int32_t products = 0;
            for (size_t i = 0; i < dot_inputs; i++) products += x[i] * w[lane * dot_inputs + i];
            sum[lane] += static_cast<uint32_t>(products);
        }
    }
};

#endif

// Keeps the compiler from loading weights again for each row.
ALWAYS_INLINE Dots in_register(Dots value) {
#if defined(__AVX512F__)
    asm("" : "+v"(value));
#elif defined(__SSE__)
    asm("" : "+x"(value));
#elif defined(__aarch64__)
    asm("" : "+w"(value));
#endif
    return value;
}

ALWAYS_INLINE Dots load_weights(const int8_t* at) {
    Dots weights;
    std::memcpy(&weights, at, sizeof weights);
    return weights;
}

// Of some rows and of some panels: groups of neurons, whose weights lie group by group.
template <size_t rows, size_t panels>
struct DotSums {
    Dots at[rows][panels][parts];

    ALWAYS_INLINE Integers part(size_t row, size_t panel, size_t part) const {
        return reinterpret_cast<Integers>(at[row][panel][part]);
    }
};

// Calls use(i) for all i below `count`, constants: arrays at such places are registers from the start, where those of
// unrolled loops may stay in memory.
template <size_t count, class Use>
ALWAYS_INLINE void for_constants(const Use& use) {
    if constexpr (count > 0) {
        for_constants<count - 1>(use);
        use(std::integral_constant<size_t, count - 1>{});
    }
}

// Of panels from `group` on, and of rows that begin at x and `apart[row]` bytes behind it, in which runs of inputs begin
// at `places`. A function of its own, which GCC finds the registers for: of what follows, some would be taken from the
// sums, which are then stored at every step.
template <Range range, size_t rows, size_t panels>
__attribute__((noinline)) DotSums<rows, panels> dot_sums(const DenseByteLayer& layer, size_t group, const uint8_t* x,
                                                         const size_t (&apart)[rows], const uint32_t* places) {
    const size_t panel_bytes = layer.runs * layer.fours * dot_bytes;
    const int8_t* weights = layer.panels + group * panel_bytes;
    Dots sums[rows][panels][parts] = {};
    for (size_t run = 0; run < layer.runs; run++) {
        const uint8_t* at = x + places[run];
        for (size_t count = layer.fours; count > 0; count--, at += dot_inputs, weights += dot_bytes) {
            Dots some[panels][parts];
            for_constants<panels * parts>([&](auto i) __attribute__((always_inline)) {
                constexpr size_t panel = i / parts, part = i % parts;
                some[panel][part] = load_weights(weights + panel * panel_bytes + part * sizeof(Dots));
                if constexpr (rows > 1) some[panel][part] = in_register(some[panel][part]);
            });
            for_constants<rows>([&](auto row) __attribute__((always_inline)) {
                int32_t four;
                std::memcpy(&four, at + apart[row], sizeof four);
                const FourInputs<range> inputs(four);
                for_constants<panels * parts>([&](auto i) __attribute__((always_inline)) {
                    constexpr size_t panel = i / parts, part = i % parts;
                    inputs.add(some[panel][part], sums[row][panel][part]);
                });
            });
        }
    }
    DotSums<rows, panels> result;
    for_constants<rows>([&](auto row) __attribute__((always_inline)) {
        for_constants<panels * parts>([&](auto i) __attribute__((always_inline)) {
            result.at[row][i / parts][i % parts] = sums[row][i / parts][i % parts];
        });
    });
    return result;
}

// For how many panels there are registers: beside a row's sums a panel's weights, and what is left of the inputs.
template <size_t rows>
constexpr size_t panels_of_tile() {
    constexpr size_t each = (rows + 1) * parts, fit = (registers_of_tile - 1) / each;
    return fit < 1 ? 1 : fit > 4 ? 4 : fit;
}

// Rows that leave room for one panel at least; more than eight share its weights no better.
constexpr size_t most_dot_rows = [] {
    constexpr size_t fit = (registers_of_tile - 1) / parts - 1;
    return fit < 8 ? fit : size_t{8};
}();

// Calls tile.operator()<panels>(first) for all groups from `first` to `last`, as many at once as there is room for.
template <size_t rows, class Tile>
ALWAYS_INLINE void by_panels(size_t first, size_t last, const Tile& tile) {
    constexpr size_t panels = panels_of_tile<rows>();
    for (; first + panels <= last; first += panels) tile.template operator()<panels>(first);
    by_rows<panels - 1>(first, last - first, tile);
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
