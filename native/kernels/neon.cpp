// NEON, which every 64-bit ARM processor has: a branch's 32 inputs are eight registers, two tables of 64 bytes in which
// the bytes of four synapses' inputs are looked up at once.
#include <arm_neon.h>

#include "rows.h"

namespace sparbor::neon {
namespace {

constexpr int quarters = neuron_block / 4;  // of a group: the neurons of a register

struct Quarter {  // four neurons' synapses
    uint32x4_t index;  // in its lower five bits
    float32x4_t weight;
    uint32x4_t padding;  // all ones in the lanes that are padding
};

struct Words {
    const uint16_t* at;

    Words(const SparseLayer& layer, size_t slot) : at(words_of(layer) + slot * neuron_block) {}

    ALWAYS_INLINE Quarter next() {
        const uint16x4_t words = vld1_u16(at);
        at += 4;
        const uint32x4_t wide = vmovl_u16(words);
        return {wide, vcvt_f32_f16(vreinterpret_f16_u16(words)), vceqzq_u32(wide)};
    }
};

struct Exact {
    const float* weight;
    const uint8_t* index;

    Exact(const SparseLayer& layer, size_t slot)
        : weight(weights_of(layer) + slot * neuron_block), index(layer.indices + slot * neuron_block) {}

    ALWAYS_INLINE Quarter next() {
        uint32_t four;
        __builtin_memcpy(&four, index, sizeof four);
        const uint16x8_t short_index = vmovl_u8(vcreate_u8(four));
        const uint32x4_t wide = vmovl_u16(vget_low_u16(short_index));
        const Quarter quarter{wide, vld1q_f32(weight), vcgeq_u32(wide, vdupq_n_u32(branch_size))};
        weight += 4;
        index += 4;
        return quarter;
    }
};

// One branch in registers.
struct Inputs {
    uint8x16x4_t low, high;

    ALWAYS_INLINE explicit Inputs(const float* x) {
        UNROLL for (int i = 0; i < 4; i++) {
            low.val[i] = vreinterpretq_u8_f32(vld1q_f32(x + 4 * i));
            high.val[i] = vreinterpretq_u8_f32(vld1q_f32(x + 16 + 4 * i));
        }
    }

    ALWAYS_INLINE uint32x4_t choose(uint32x4_t index) const {
        // Where the four bytes of each input lie. What the first table has not becomes zero, and what the second has
        // not stays as it is.
        const uint32x4_t input = vandq_u32(index, vdupq_n_u32(branch_size - 1));
        const uint32x4_t bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100), input, 0x04040404);
        const uint8x16_t place = vreinterpretq_u8_u32(bytes);
        const uint8x16_t found = vqtbl4q_u8(low, place);
        return vreinterpretq_u32_u8(vqtbx4q_u8(found, high, vsubq_u8(place, vdupq_n_u8(64))));
    }
};

// Four neurons' results; NaN stays NaN.
ALWAYS_INLINE void store(float32x4_t sum, const float* scale, const float* bias, float clamp_min, float* y) {
    vst1q_f32(y, vmaxq_f32(vdupq_n_f32(clamp_min), vfmaq_f32(vld1q_f32(bias), sum, vld1q_f32(scale))));
}

// Two chains for each quarter of the group.
struct Sums {
    float32x4_t at[quarters][2];

    ALWAYS_INLINE Sums() {
        UNROLL for (int i = 0; i < 2 * quarters; i++) at[i / 2][i % 2] = vdupq_n_f32(0);
    }

    ALWAYS_INLINE void store(const SparseLayer& layer, size_t first_neuron, float* y) const {
        UNROLL for (int i = 0; i < quarters; i++) {
            const size_t neuron = first_neuron + 4 * i;
            neon::store(vaddq_f32(at[i][0], at[i][1]), layer.scale + neuron, layer.bias + neuron, layer.clamp_min,
                        y + neuron);
        }
    }
};

template <bool padded, class Synapses>
ALWAYS_INLINE void add_slot(const Inputs& inputs, Synapses& synapses, Sums& sums, int chain) {
    UNROLL for (int i = 0; i < quarters; i++) {
        const Quarter quarter = synapses.next();
        uint32x4_t chosen = inputs.choose(quarter.index);
        if constexpr (padded) chosen = vbicq_u32(chosen, quarter.padding);
        sums.at[i][chain] = vfmaq_f32(sums.at[i][chain], vreinterpretq_f32_u32(chosen), quarter.weight);
    }
}

}  // namespace

// The shares were measured on no such machine yet: its vectors are as wide as those of the portable set.
const KernelSet kernels{"neon", sparse_by_rows<Inputs, Sums, Words, Exact>, 6, SPARBOR_SHARED_KERNELS,
                        {0.4, 0.9}, {0.7, 0.8}, {0.43, 0.39}};

}  // namespace sparbor::neon
