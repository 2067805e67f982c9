// Plain C++ and the compiler's own vectors: the kernels every machine has, and the second oracle of the others' tests.
#include <utility>

#include "vectors.h"

namespace sparbor::portable {
namespace {

constexpr size_t parts = neuron_block / lanes;
constexpr std::make_index_sequence<lanes> each_lane;

// Of one slot, a vector for some of a group's neurons; `index` says where in the branch each reads. Without padding
// there is nothing to ask of a synapse: the neurons that fill up the last group have padding all the same, but their
// sums are nobody's, so any input of the branch will do.
template <bool padded, class Index, size_t... lane>
ALWAYS_INLINE Vector inputs_of(const Index* index, Index padding, const float* x, std::index_sequence<lane...>) {
    return Vector{(padded && index[lane] == padding ? 0.0f : x[index[lane] % branch_size])...};
}

template <bool padded>
ALWAYS_INLINE void add_words(const uint16_t* words, const float* x, Vector* sums) {
    UNROLL for (size_t part = 0; part < parts; part++, words += lanes)
        sums[part] += load_halves(words) * inputs_of<padded, uint16_t>(words, 0, x, each_lane);
}

template <bool padded>
ALWAYS_INLINE void add_exact(const float* weights, const uint8_t* indices, const float* x, Vector* sums) {
    UNROLL for (size_t part = 0; part < parts; part++, weights += lanes, indices += lanes)
        sums[part] += load(weights) * inputs_of<padded, uint8_t>(indices, 0x80, x, each_lane);
}

void finish(const Vector* sums, const float* scale, const float* bias, float clamp_min, float* y) {
    const Vector least = everywhere(clamp_min);
    for (size_t part = 0; part < parts; part++) {
        const Vector value = sums[part] * load(scale + part * lanes) + load(bias + part * lanes);
        store(y + part * lanes, value < least ? least : value);  // keeps NaN
    }
}

template <bool padded>
void sparse_group(const SparseLayer& layer, size_t number, const float* x, float* y) {
    const NeuronBlock& group = layer.groups[number];
    const uint16_t* branch = layer.branches + group.branch;
    size_t slot = group.slot;
    Vector sums[parts] = {};
    for (const Run* run = layer.runs + group.run; run != layer.runs + group.run + group.runs; run++)
        for (size_t i = 0; i < run->branches; i++, branch++)
            for (size_t k = 0; k < run->slots; k++, slot++) {
                const float* inputs = x + *branch * branch_size;
                const size_t at = slot * neuron_block;
                switch (layer.type) {
                    case SynapseType::word16: add_words<padded>(words_of(layer) + at, inputs, sums); break;
                    case SynapseType::exact:
                        add_exact<padded>(weights_of(layer) + at, layer.indices + at, inputs, sums);
                }
            }
    const size_t neuron = number * neuron_block;
    finish(sums, layer.scale + neuron, layer.bias + neuron, layer.clamp_min, y + neuron);
}

void sparse(const SparseLayer& layer, const Rows& io, size_t first, size_t last) {
    const auto compute = layer.padded ? sparse_group<true> : sparse_group<false>;
    for (size_t row = 0; row < io.count; row++)
        for (size_t group = first; group < last; group++)
            compute(layer, group, io.x + row * io.x_stride, io.y + row * io.y_stride);
}

}  // namespace

const KernelSet kernels{"portable", sparse, 6, SPARBOR_SHARED_KERNELS,
                        {0.4, 0.9}, {0.7, 0.8}, {0.43, 0.39}};

}  // namespace sparbor::portable
