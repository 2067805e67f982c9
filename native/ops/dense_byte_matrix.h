// A layer's 8-bit weights as dense kernels want them.
#pragma once

#include <vector>

#include "ir/aligned_array.h"
#include "ir/layer.h"
#include "kernels/dense_bytes.h"

namespace sparbor {

// How a layer's inputs are divided into runs: what each reads, and how far it is in the layer's own order from one to
// the next, which may have fillers between them.
struct Runs {
    uint64_t count, inputs, apart;
};

class DenseByteMatrix {
public:
    // Of a dense layer, or of one of quads, which is spread.
    DenseByteMatrix(const Layer& layer, const Runs& runs, float clamp_min);
    DenseByteMatrix(const DenseByteMatrix&) = delete;
    DenseByteMatrix& operator=(const DenseByteMatrix&) = delete;

    const DenseByteLayer& layer() const { return layer_; }
    const std::vector<int32_t>& sums() const { return sums_; }
    size_t groups() const { return sums_.size() / neuron_block; }
    size_t fours() const { return groups() * layer_.runs * layer_.fours; }

private:
    std::vector<float> scale_, bias_;  // padded to whole groups
    std::vector<int32_t> sums_;
    AlignedArray<int8_t> panels_;
    DenseByteLayer layer_;
};

}  // namespace sparbor
