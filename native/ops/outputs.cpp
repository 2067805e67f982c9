#include "ops/outputs.h"

#include <algorithm>
#include <limits>

namespace sparbor {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

MapKernel find_map(const KernelSet& kernels, const std::string& name) {
    for (const NamedMap* each = kernels.elementwise->maps; each->name; each++)
        if (name == each->name) return each->map;
    throw std::logic_error("no activation named " + name);
}

bool is_relu(const Node& node) { return node.activation() && node.activation()->name == "relu"; }

}  // namespace

const NamedPair& find_pair(const KernelSet& kernels, const std::string& name) {
    for (const NamedPair* each = kernels.pairs; each->name; each++)
        if (name == each->name) return *each;
    throw std::logic_error("no operator of two values named " + name);
}

Activation relu_of(const KernelSet& kernels) { return {find_map(kernels, "clamp"), 0, infinity}; }

Activation activation_of(const Node& node, const KernelSet& kernels) {
    if (is_relu(node)) return relu_of(kernels);
    const auto& [name, parameters] = *node.activation();
    return {find_map(kernels, name), parameters[0], parameters[1]};
}

Ending ending_of(const Node& node, const KernelSet& kernels) {
    if (is_relu(node)) return {0, std::nullopt};
    if (node.activation()) return {-infinity, activation_of(node, kernels)};
    return {-infinity, std::nullopt};
}

void apply(const Activation& activation, float* rows, size_t stride, size_t count, size_t features) {
    for (size_t row = 0; row < count; row++) activation.map(rows + row * stride, features, activation.a, activation.b);
}

std::vector<float> padded(const float* values, size_t count, size_t multiple, float filler) {
    std::vector<float> result(round_up(count, multiple), filler);
    if (values) std::copy(values, values + count, result.begin());
    return result;
}

double work_of_reading(const Node& node) {
    double numbers = static_cast<double>(numbers_of(node.y()));
    for (size_t i = 0; i < node.inputs(); i++) numbers += static_cast<double>(numbers_of(node.x(i)));
    return numbers;
}

LayoutCost no_layout(const Node&) { return {0, 0}; }

}  // namespace sparbor
