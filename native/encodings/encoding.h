// How a layer's weights are stored: for each kind of layer and of weights that a file may name there is an encoding,
// whose file says which tensors it has, and checks them.
#pragma once

#include "ir/program.h"
#include "kernels/quads.h"

namespace sparbor {

enum class LayerKind { sparse, dense, filters, table, scale_shift, array };

// Looks at a layer's tensors, each once. Throws Refused, which names the layer.
class LayerCheck {
public:
    explicit LayerCheck(const Layer& layer) : layer_(layer) {}

    const Layer& layer() const { return layer_; }
    void operator()(bool holds, const std::string& fault) const;
    // It has this part, of this type and, if that is given, of this shape.
    const Tensor& part(const char* part, Number type, const Shape* shape = nullptr);
    // Parts that many layers have: a bias, if it has one, and the positive scale of each output.
    void bias();
    void scale();
    // What kernels rely on where weights have 8 bits: that none is -128, and that products of a neuron's with bytes add
    // up to numbers of 32 bits; `largest` is the largest sum of a neuron's weights without their signs.
    void symmetric(const Tensor& weights) const;
    void sums_of_bytes(uint64_t largest) const;
    void no_other_parts() const;

private:
    const Layer& layer_;
    size_t known_ = 0;
};

// What a sparse layer's synapses come in: of each neuron of a block so many, all on one branch.
struct Unit {
    const char* name;         // several of them
    const char* run_part;     // the part that says how many there are on each branch of a run
    uint64_t branch;          // consecutive inputs that are one
    size_t synapses;          // of a neuron
    uint64_t most() const { return branch / synapses; }  // on a branch
    uint64_t places() const { return neuron_block * synapses; }
};
inline constexpr Unit of_slots{"slots", "run_slots", branch_size, 1},
    of_quads{"quads", "run_quads", quad_branch, quad_synapses};

struct Encoding {
    LayerKind kind;
    const char* kind_name;  // as files have it
    const char* weights;    // likewise; null if there is but one
    WeightType type;        // of its weights, or of what a sparse layer is dense
    // Its tensors lead no kernel out of its arrays, and hold nothing that no packing writes.
    void (*check)(LayerCheck&);
    // How many weights are stored, padding included; null for layers of no matrix.
    uint64_t (*places)(const Layer&) = nullptr;
    // Of sparse layers, else null: what its synapses come in, the part that says which of their places hold no synapse,
    // and whether one does not.
    const Unit* unit = nullptr;
    const char* places_part = nullptr;
    bool (*is_padding)(const uint8_t* part, uint64_t place) = nullptr;
};

// Each file's own.
extern const Encoding sparse_exact, sparse_word16, sparse_int8, dense_exact, dense_halves, dense_int8,
    filters_exact, filters_halves, filters_int8, table_exact, table_halves, scale_shift, array;

inline bool is(const Layer& layer, LayerKind kind) { return layer.encoding->kind == kind; }
// Whether it is a sparse layer of such.
inline bool is_of(const Layer& layer, const Unit& unit) { return layer.encoding->unit == &unit; }
// Whether its weights are whole numbers of 8 bits.
inline bool has_bytes(const Layer& layer) {
    return is_of(layer, of_quads) || layer.encoding == &dense_int8 || layer.encoding == &filters_int8;
}
// Whether it is a matrix, of so many outputs and inputs; of a table its rows, and the numbers of each.
inline bool is_matrix(const Layer& layer) { return layer.encoding->places != nullptr; }

bool all_finite(const Tensor& floats);
bool halves_finite(const Tensor& halves);

}  // namespace sparbor
