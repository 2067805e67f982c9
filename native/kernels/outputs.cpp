// Dense layers over few columns, or over a number of them that whole vectors do not fit: the lanes are outputs. A few
// columns' sums of two vectors of outputs stay in registers; each weight is loaded once for all of these columns, and
// each input is spread for both vectors. Compiled once for each kernel set.
#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

#if defined(__AVX512F__)
constexpr size_t most_columns = 14;
constexpr double cost = 0.9, transposing = 12;
#elif defined(__AVX__)
constexpr size_t most_columns = 6;
constexpr double cost = 0.93, transposing = 24;
#else
constexpr size_t most_columns = 5;
constexpr double cost = 2, transposing = 24;
#endif
constexpr size_t block_vectors = 2;
constexpr size_t block = block_vectors * lanes;
constexpr size_t inputs_ahead = 128;  // whose weights are on their way from a cache far away
constexpr size_t batch_columns = 7 * column_tile;  // whose sums are turned into planes at once

ALWAYS_INLINE Vector load_weights(const float* at) { return load(at); }
ALWAYS_INLINE Vector load_weights(const uint16_t* at) { return load_halves(at); }

// What the sums of one block are made of, and where the results go: `block` floats for each column.
template <class Weight>
struct Work {
    const DenseBlocks& layer;
    const Weight* weights;
    const uint32_t* offsets;
    const float* x;
    const float *scale, *bias;
    float* results;
};

template <size_t vectors, size_t columns, class Weight>
void sum_columns(const Work<Weight>& work, size_t first) {
    Vector sums[columns][vectors] = {};
    const Weight* weights = work.weights;
    const float* const x = work.x + first;
    for (size_t k = 0; k < work.layer.fan_in; k++, weights += block) {
        __builtin_prefetch(weights + inputs_ahead * block);
        Vector few[vectors];
        UNROLL for (size_t i = 0; i < vectors; i++) few[i] = in_register(load_weights(weights + i * lanes));
        const float* const inputs = x + work.offsets[k];
        UNROLL for (size_t column = 0; column < columns; column++) {
            const Vector input = in_register(everywhere(inputs[column]));
            UNROLL for (size_t i = 0; i < vectors; i++) sums[column][i] += few[i] * input;
        }
    }
    const Vector clamp_min = everywhere(work.layer.clamp_min);
    UNROLL for (size_t i = 0; i < vectors; i++) {
        const Vector scale = load(work.scale + i * lanes), bias = load(work.bias + i * lanes);
        UNROLL for (size_t column = 0; column < columns; column++) {
            const Vector value = sums[column][i] * scale + bias;
            store(work.results + (first + column) * block + i * lanes, value < clamp_min ? clamp_min : value);
        }
    }
}

template <size_t vectors, size_t columns, class Weight>
ALWAYS_INLINE void sum_some(const Work<Weight>& work, size_t first, size_t count) {
    if constexpr (columns > 0) {
        if (count == columns) sum_columns<vectors, columns>(work, first);
        else sum_some<vectors, columns - 1>(work, first, count);
    }
}

// In as few parts as there can be, none much smaller than the others.
template <size_t vectors, class Weight>
void sum_all(const Work<Weight>& work, size_t count) {
    const size_t parts = (count + most_columns - 1) / most_columns;
    for (size_t part = 0; part < parts; part++) {
        const size_t first = count * part / parts, last = count * (part + 1) / parts;
        sum_some<vectors, most_columns>(work, first, last - first);
    }
}

// Sixteen columns of `lanes` outputs each become rows of sixteen columns.
#if defined(__AVX512F__)
ALWAYS_INLINE void transpose(const float* results, size_t outputs, float* y, size_t stride) {
    __m512 a[16], b[16];
    UNROLL for (size_t i = 0; i < 16; i++) a[i] = _mm512_loadu_ps(results + i * block);
    UNROLL for (size_t i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    UNROLL for (size_t i = 0; i < 16; i += 4)
        UNROLL for (size_t half = 0; half < 2; half++) {
            const __m512d low = _mm512_castps_pd(b[i + half]), high = _mm512_castps_pd(b[i + 2 + half]);
            a[i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            a[i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    // a[4 q + r] now has, in its part p, columns 4 q to 4 q + 3 of output 4 p + r.
    UNROLL for (size_t r = 0; r < 4; r++) {
        const __m512 low = _mm512_shuffle_f32x4(a[r], a[4 + r], 0x44),
                     high = _mm512_shuffle_f32x4(a[r], a[4 + r], 0xEE);
        const __m512 low2 = _mm512_shuffle_f32x4(a[8 + r], a[12 + r], 0x44);
        const __m512 high2 = _mm512_shuffle_f32x4(a[8 + r], a[12 + r], 0xEE);
        b[r] = _mm512_shuffle_f32x4(low, low2, 0x88);
        b[4 + r] = _mm512_shuffle_f32x4(low, low2, 0xDD);
        b[8 + r] = _mm512_shuffle_f32x4(high, high2, 0x88);
        b[12 + r] = _mm512_shuffle_f32x4(high, high2, 0xDD);
    }
    UNROLL for (size_t output = 0; output < 16; output++)
        if (output < outputs) _mm512_storeu_ps(y + output * stride, b[output]);
}
#else
ALWAYS_INLINE void transpose(const float* results, size_t outputs, float* y, size_t stride) {
    for (size_t output = 0; output < lanes && output < outputs; output++)
        UNROLL for (size_t column = 0; column < column_tile; column++)
            y[output * stride + column] = results[column * block + output];
}
#endif

template <class Weight>
void sum_block(const Weight* weights, const DenseBlocks& layer, size_t number, const PackedInput& packed,
               const Tile& tile, float* results) {
    const size_t batches = (packed.columns + batch_columns - 1) / batch_columns;
    const size_t even = (packed.columns + batches - 1) / batches;
    const size_t most = (even + column_tile - 1) / column_tile * column_tile;
    for (size_t done = 0; done < packed.columns; done += most) {
        const size_t count = packed.columns - done < most ? packed.columns - done : most;
        const Work<Weight> work{layer, weights + number * block * layer.fan_in, packed.offsets, packed.data + done,
                                layer.scale + number * block, layer.bias + number * block, results};
        if (tile.neurons <= lanes) sum_all<1>(work, count);
        else sum_all<2>(work, count);
        for (size_t column = 0; column < count; column += column_tile)
            for (size_t output = 0; output < tile.neurons; output += lanes)
                transpose(results + column * block + output, tile.neurons - output,
                     tile.y + output * tile.stride + done + column, tile.stride);
    }
}

void dense(const DenseBlocks& layer, size_t number, const PackedInput& packed, const Tile& tile, float* results) {
    with_numbers(layer.weights, [&](const auto* all) { sum_block(all, layer, number, packed, tile, results); });
}

}  // namespace

const Outputs outputs{block, batch_columns * block, cost, transposing, dense};

}  // namespace sparbor::SPARBOR_KERNELS
