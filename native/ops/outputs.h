// What steps have in common that end in outputs: a ReLU is part of how a sum is stored, other activations run over what
// has been stored.
#pragma once

#include <optional>
#include <vector>

#include "plan/placement.h"

namespace sparbor {

struct Activation {
    MapKernel map;
    float a, b;
};

struct Ending {
    float clamp_min;  // results are not less: 0 for ReLU, -infinity for none
    std::optional<Activation> activation;
};

Ending ending_of(const Node& node, const KernelSet& kernels);
// The kernels of this name for two rows of numbers.
const NamedPair& find_pair(const KernelSet& kernels, const std::string& name);

// A ReLU by itself, where it cannot be part of a sum.
Activation relu_of(const KernelSet& kernels);
// The activation that an operation is: a ReLU too, which has nothing to be part of.
Activation activation_of(const Node& node, const KernelSet& kernels);

void apply(const Activation& activation, float* rows, size_t stride, size_t count, size_t features);

// A layer's scale and bias, which it need not have, padded to a multiple.
std::vector<float> padded(const float* values, size_t count, size_t multiple, float filler);

// Runs part(row, last row, thread) over the rows of an element-wise step.
template <class Part>
void split_rows(const Call& call, const Matrix& matrix, const Part& part) {
    call.split(matrix.rows, 0.2 * static_cast<double>(matrix.rows * matrix.columns), part);
}

// The functions of kinds that read and write each number once, and lay nothing out.
double work_of_reading(const Node& node);
LayoutCost no_layout(const Node& node);

}  // namespace sparbor
