// Dense layers whose weights and inputs have 8 bits. Beside quads.h, whose rows of bytes they share.
#pragma once

#include "quads.h"

namespace sparbor {

// Weights are `scale` times whole numbers from -127 to 127. They lie in panels of a group's neurons: for each four
// consecutive inputs, 64 bytes, four of each neuron.
struct DenseByteLayer {
    const int8_t* panels;
    size_t fours;          // of inputs, in each panel
    const float* scale;    // by neuron, padded to whole groups, like `bias` and `sums`
    const float* bias;
    const int32_t* sums;   // of the weights
    float clamp_min;       // as in SparseLayer
};

struct DenseBytes {
    // Rows of bytes that `Quads::to_bytes` made.
    void (*rows)(const DenseByteLayer&, const ByteRows&, size_t first_group, size_t last_group);
};

// The same kernel sets on processors that have more instructions for bytes.
#ifdef SPARBOR_X86
namespace avx512vnni { extern const DenseBytes dense_bytes; }
namespace avx2vnni { extern const DenseBytes dense_bytes; }
#endif
#ifdef SPARBOR_ARM64
namespace neondot { extern const DenseBytes dense_bytes; }
#endif

}  // namespace sparbor
