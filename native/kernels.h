// What a kernel set is given and what it offers.
//
// Every file under kernels/ is compiled with flags of its own, so none may share inline code with another: a function
// compiled for AVX-512 could be the one the linker keeps for everybody. They include this header and intrinsics only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sparbor {

constexpr size_t group_size = 16;   // neurons that share a slot
constexpr size_t branch_size = 32;  // consecutive inputs that a synapse's index chooses from

// `branches` branches of one group that all have `slots` slots.
struct Run {
    uint16_t slots;
    uint16_t branches;
};

// Where a group's data begin in the layer's arrays.
struct Group {
    uint64_t slot;
    uint32_t branch;
    uint32_t run;
    uint32_t runs;
    bool normal;  // its neurons' words are normal halves: not padding, not subnormal, not zero
};

// A packed sparse layer. A slot is 16 synapses, one a neuron: 16 words, or 16 weights and 16 index bytes.
struct SparseLayer {
    const Group* groups;
    const Run* runs;
    const uint16_t* branches;
    const uint16_t* words;    // 16-bit synapses, else null; 0x0000 is padding
    const float* weights;     // exact synapses, else null
    const uint8_t* indices;   // beside `weights`; 0x80 is padding
    const float* scale;       // by neuron, padded to whole groups, like `bias`
    const float* bias;
    float floor;              // results are not less than this: 0 for ReLU, -infinity for none
    bool padded;              // some neuron has padding: those synapses must not touch their input
};

// A dense layer: for each group, fan_in times 16 weights, as floats or as halves. No half is infinite or NaN.
struct DenseLayer {
    const float* panels;      // else null
    const uint16_t* halves;   // else null
    const float* scale;
    const float* bias;
    size_t fan_in;
    float floor;
};

// Rows of inputs and of outputs; strides in floats. Inputs are readable up to a whole branch, outputs writable up to
// a whole group.
struct Rows {
    const float* x;
    size_t x_stride;
    float* y;
    size_t y_stride;
    size_t count;
};

using SparseKernel = void (*)(const SparseLayer&, const Rows&, size_t first_group, size_t last_group);
using DenseKernel = void (*)(const DenseLayer&, const Rows&, size_t first_group, size_t last_group);

// An element-wise function in place; `a` and `b` are its parameters, where it has any.
using MapKernel = void (*)(float* values, size_t count, float a, float b);

struct NamedMap {
    const char* name;
    MapKernel map;
};

struct Elementwise {
    const NamedMap* maps;  // the activations, up to one without a name
    void (*add)(const float* left, const float* right, float* sum, size_t count);
    void (*scale_shift)(const float* x, const float* scale, const float* shift, float* y, size_t count);
    void (*softmax)(float* row, size_t count);
};

constexpr size_t column_tile = 16;

// Sparse layers over column_tile rows at once. The panel has a row of columns for each input and one of zeros, and is
// aligned to cache lines; `sparse` takes at most column_tile rows.
struct Columns {
    void (*to_panel)(const Rows&, size_t fan_in, float* panel);
    void (*sparse)(const SparseLayer&, const float* panel, size_t fan_in, const Rows&, size_t first_group,
                   size_t last_group);
};

struct KernelSet {
    const char* name;
    SparseKernel sparse;
    const Columns* columns;  // null where `sparse` is faster for many rows as well
    DenseKernel dense;
    const Elementwise* elementwise;
};

namespace portable { extern const KernelSet kernels; extern const Columns columns; extern const Elementwise elementwise; }
#ifdef SPARBOR_X86
namespace avx2 { extern const KernelSet kernels; extern const Columns columns; extern const Elementwise elementwise; }
namespace avx512 { extern const KernelSet kernels; extern const Elementwise elementwise; }
#endif

}  // namespace sparbor
