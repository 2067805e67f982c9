// AVX2, FMA, F16C: a branch's 32 inputs are four registers; an index chooses within each and then between them.
#include <immintrin.h>

#include "rows.h"

namespace sparbor::avx2 {
namespace {

struct HalfSlot {    // eight neurons' synapses
    __m256i index;
    __m256 weight;
    __m256 padding;  // all ones in the lanes that are padding
};

struct Words {
    const uint16_t* at;

    Words(const SparseLayer& layer, size_t slot) : at(words_of(layer) + slot * neuron_block) {}

    ALWAYS_INLINE HalfSlot next() {
        const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        at += 8;
        const __m256i wide = _mm256_cvtepu16_epi32(words);
        return {wide, _mm256_cvtph_ps(words),
                _mm256_castsi256_ps(_mm256_cmpeq_epi32(wide, _mm256_setzero_si256()))};
    }
};

struct Exact {
    const float* weight;
    const uint8_t* index;

    Exact(const SparseLayer& layer, size_t slot)
        : weight(weights_of(layer) + slot * neuron_block), index(layer.indices + slot * neuron_block) {}

    ALWAYS_INLINE HalfSlot next() {
        const __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(index)));
        const HalfSlot slot{wide, _mm256_loadu_ps(weight),
                            _mm256_castsi256_ps(_mm256_cmpgt_epi32(wide, _mm256_set1_epi32(0x7f)))};
        weight += 8;
        index += 8;
        return slot;
    }
};

// One branch in registers. The permutes look at index bits 0–2; bits 3 and 4, moved to the sign, steer the blends.
struct Inputs {
    __m256 part[4];

    ALWAYS_INLINE explicit Inputs(const float* x) {
        UNROLL for (int i = 0; i < 4; i++) part[i] = _mm256_loadu_ps(x + 8 * i);
    }

    ALWAYS_INLINE __m256 choose(__m256i index) const {
        const __m256 bit3 = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));
        const __m256 bit4 = _mm256_castsi256_ps(_mm256_slli_epi32(index, 27));
        const __m256 low = _mm256_blendv_ps(_mm256_permutevar8x32_ps(part[0], index),
                                            _mm256_permutevar8x32_ps(part[1], index), bit3);
        const __m256 high = _mm256_blendv_ps(_mm256_permutevar8x32_ps(part[2], index),
                                             _mm256_permutevar8x32_ps(part[3], index), bit3);
        return _mm256_blendv_ps(low, high, bit4);
    }
};

// Two chains for each half of the group.
struct Sums {
    __m256 at[2][2];

    ALWAYS_INLINE Sums() {
        UNROLL for (int i = 0; i < 4; i++) at[i / 2][i % 2] = _mm256_setzero_ps();
    }

    ALWAYS_INLINE void store(const SparseLayer& layer, size_t first_neuron, float* y) const {
        UNROLL for (int half = 0; half < 2; half++) {
            const size_t neuron = first_neuron + 8 * half;
            const __m256 total = _mm256_add_ps(at[half][0], at[half][1]);
            const __m256 result =
                _mm256_fmadd_ps(total, _mm256_loadu_ps(layer.scale + neuron), _mm256_loadu_ps(layer.bias + neuron));
            _mm256_storeu_ps(y + neuron, _mm256_max_ps(_mm256_set1_ps(layer.clamp_min), result));  // keeps NaN
        }
    }
};

template <bool padded, class Synapses>
ALWAYS_INLINE void add_slot(const Inputs& inputs, Synapses& synapses, Sums& sums, int chain) {
    UNROLL for (int half = 0; half < 2; half++) {
        const HalfSlot slot = synapses.next();
        __m256 chosen = inputs.choose(slot.index);
        if constexpr (padded) chosen = _mm256_andnot_ps(slot.padding, chosen);
        sums.at[half][chain] = _mm256_fmadd_ps(chosen, slot.weight, sums.at[half][chain]);
    }
}

}  // namespace

const KernelSet kernels{"avx2", sparse_by_rows<Inputs, Sums, Words, Exact>, 6, SPARBOR_SHARED_KERNELS,
                        {0.2, 0.4}, {0.33, 0.63}, {0.32, 0.28}};

}  // namespace sparbor::avx2
