// Sparse layers of slots as kernels want them.
#pragma once

#include <vector>

#include "ir/layer.h"
#include "kernels/kernels.h"

namespace sparbor {

// A layer's runs, and where the groups' data begin in its arrays.
struct Blocks {
    explicit Blocks(const Layer& layer);

    std::vector<Run> runs;
    std::vector<NeuronBlock> groups;
    size_t units;  // slots or quads
};

class SparseMatrix {
public:
    // `real` says which rows are outputs, and not there to fill a group; the tensors stay the layer's.
    SparseMatrix(const Layer& layer, const std::vector<bool>& real, float clamp_min);
    SparseMatrix(const SparseMatrix&) = delete;
    SparseMatrix& operator=(const SparseMatrix&) = delete;

    const SparseLayer& layer() const { return layer_; }
    size_t groups() const { return blocks_.groups.size(); }
    size_t slots() const { return blocks_.units; }
    // For the slots of as many groups as take turns on a chunk.
    size_t decoded_floats() const { return most_slots_ * (sizeof(Synapses) / sizeof(float)); }

private:
    void find_normal_groups(const Layer& layer);
    void count_most_slots();

    Blocks blocks_;
    std::vector<float> scale_, bias_;  // padded to whole groups
    SparseLayer layer_;
    size_t most_slots_;
};

// How many branches make a chunk of a packed input, of whose inputs each has so many floats for a block of columns.
uint32_t chunk_shift(size_t input_floats, size_t inputs);

}  // namespace sparbor
