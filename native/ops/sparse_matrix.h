// A sparse layer as kernels want it.
#pragma once

#include <vector>

#include "ir/layer.h"
#include "kernels/kernels.h"

namespace sparbor {

class SparseMatrix {
public:
    // `real` says which rows are outputs, and not there to fill a group; the tensors stay the layer's.
    SparseMatrix(const Layer& layer, const std::vector<bool>& real, float clamp_min);
    SparseMatrix(const SparseMatrix&) = delete;
    SparseMatrix& operator=(const SparseMatrix&) = delete;

    const SparseLayer& layer() const { return layer_; }
    size_t groups() const { return groups_.size(); }
    size_t slots() const { return slots_; }
    // For the slots of as many groups as take turns on a chunk.
    size_t decoded_floats() const { return most_slots_ * (sizeof(Synapses) / sizeof(float)); }

private:
    void find_groups(const Layer& layer, size_t outputs);
    void count_most_slots();

    std::vector<NeuronBlock> groups_;
    std::vector<Run> runs_;
    std::vector<float> scale_, bias_;  // padded to whole groups
    SparseLayer layer_;
    size_t slots_, most_slots_;
};

// How many branches make a chunk of a packed input, of whose inputs each has so many floats for a block of columns.
uint32_t chunk_shift(size_t input_floats, size_t inputs);

}  // namespace sparbor
