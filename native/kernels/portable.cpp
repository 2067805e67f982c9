// Plain C++: the kernels every machine has, and the second oracle of the others' tests.
#include <cstring>

#include "../kernels.h"

namespace sparbor::portable {
namespace {

// A half's bits shifted into a float's are the same number 2^-112 times as large; exponent 31 never occurs.
float half_value(uint16_t word) {
    const uint32_t bits = (word & 0x8000u) << 16 | (word & 0x7fffu) << 13;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value * 0x1p112f;
}

// Without padding there is nothing to ask of a synapse: three times as fast. The neurons that fill up the last group have
// synapses of padding all the same; their sums are nobody's, so any input of the branch will do.
template <bool padded>
void add_words(const uint16_t* words, const float* x, float* sums) {
    for (size_t lane = 0; lane < group_size; lane++)
        if (!padded || words[lane] != 0) sums[lane] += half_value(words[lane]) * x[words[lane] % branch_size];
}

template <bool padded>
void add_exact(const float* weights, const uint8_t* indices, const float* x, float* sums) {
    for (size_t lane = 0; lane < group_size; lane++)
        if (!padded || indices[lane] < branch_size) sums[lane] += weights[lane] * x[indices[lane] % branch_size];
}

void store(const float* sums, const float* scale, const float* bias, float floor, float* y) {
    for (size_t lane = 0; lane < group_size; lane++) {
        const float value = sums[lane] * scale[lane] + bias[lane];
        y[lane] = value < floor ? floor : value;  // keeps NaN
    }
}

template <bool padded>
void sparse_group(const SparseLayer& layer, const Group& group, const float* x, float* sums) {
    size_t slot = group.slot;
    const uint16_t* branch = layer.branches + group.branch;
    for (const Run* run = layer.runs + group.run; run != layer.runs + group.run + group.runs; run++)
        for (size_t i = 0; i < run->branches; i++, branch++)
            for (size_t k = 0; k < run->slots; k++, slot++) {
                const float* inputs = x + *branch * branch_size;
                if (layer.words)
                    add_words<padded>(layer.words + slot * group_size, inputs, sums);
                else
                    add_exact<padded>(layer.weights + slot * group_size, layer.indices + slot * group_size, inputs, sums);
            }
}

void sparse(const SparseLayer& layer, const Rows& io, size_t first, size_t last) {
    for (size_t row = 0; row < io.count; row++)
        for (size_t group = first; group < last; group++) {
            float sums[group_size] = {};
            (layer.padded ? sparse_group<true> : sparse_group<false>)(layer, layer.groups[group], io.x + row * io.x_stride,
                                                                      sums);
            const size_t neuron = group * group_size;
            store(sums, layer.scale + neuron, layer.bias + neuron, layer.floor, io.y + row * io.y_stride + neuron);
        }
}

float weight_value(float weight) { return weight; }
float weight_value(uint16_t half) { return half_value(half); }

template <class Weight>
void dense_rows(const Weight* panels, const DenseLayer& layer, const Rows& io, size_t first, size_t last) {
    for (size_t row = 0; row < io.count; row++)
        for (size_t group = first; group < last; group++) {
            const float* x = io.x + row * io.x_stride;
            const Weight* panel = panels + group * group_size * layer.fan_in;
            float sums[group_size] = {};
            for (size_t k = 0; k < layer.fan_in; k++)
                for (size_t lane = 0; lane < group_size; lane++)
                    sums[lane] += weight_value(panel[k * group_size + lane]) * x[k];
            const size_t neuron = group * group_size;
            store(sums, layer.scale + neuron, layer.bias + neuron, layer.floor, io.y + row * io.y_stride + neuron);
        }
}

void dense(const DenseLayer& layer, const Rows& io, size_t first, size_t last) {
    if (layer.halves) dense_rows(layer.halves, layer, io, first, last);
    else dense_rows(layer.panels, layer, io, first, last);
}

}  // namespace

const KernelSet kernels{"portable", sparse, 6, dense, &columns, &outputs, find_depthwise,
                        &planes, &pools, &winograd, &elementwise, &training, &batch_turning, &ranking};

}  // namespace sparbor::portable
