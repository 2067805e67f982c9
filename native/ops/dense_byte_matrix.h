// A linear layer's 8-bit weights as dense kernels want them.
#pragma once

#include <vector>

#include "ir/aligned_array.h"
#include "ir/layer.h"
#include "kernels/dense_bytes.h"

namespace sparbor {

class DenseByteMatrix {
public:
    // Of a dense layer, or of one of quads, which is spread.
    DenseByteMatrix(const Layer& layer, float clamp_min);
    DenseByteMatrix(const DenseByteMatrix&) = delete;
    DenseByteMatrix& operator=(const DenseByteMatrix&) = delete;

    const DenseByteLayer& layer() const { return layer_; }
    size_t groups() const { return sums_.size() / neuron_block; }

private:
    std::vector<float> scale_, bias_;  // padded to whole groups
    std::vector<int32_t> sums_;
    AlignedArray<int8_t> panels_;
    DenseByteLayer layer_;
};

}  // namespace sparbor
