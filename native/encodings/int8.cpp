// Synapses in quads: an index byte each, where 0x80 is padding, and a whole number from -127 to 127, times its neuron's
// scale.
#include "encodings/slots.h"

#include <algorithm>
#include <cstdlib>

namespace sparbor {
namespace {

uint64_t places(const Layer& layer) { return layer.parts.at("weights").count(); }

void check_numbers(const LayerCheck& check) {
    const auto *const indices = check.layer().data<uint8_t>("indices");
    const auto *const weights = check.layer().data<int8_t>("weights");
    bool empty = true;
    for (uint64_t i = 0, count = places(check.layer()); i < count; i++)
        empty &= indices[i] != padding_index || weights[i] == 0;
    check(empty, "a place without a synapse has a weight");
}

// Products of a neuron's weights and of bytes are added up in 32 bits.
void check_sums(const LayerCheck& check) {
    const Layer& layer = check.layer();
    const auto* const weights = layer.data<int8_t>("weights");
    std::vector<uint64_t> sums(ceil_div(layer.outputs, neuron_block) * neuron_block);
    for_each_unit(layer, [&](uint64_t quad, uint64_t group, uint64_t) {
        for (uint64_t i = 0; i < quad_bytes; i++)
            sums[group * neuron_block + i / quad_synapses] +=
                static_cast<uint64_t>(std::abs(int{weights[quad * quad_bytes + i]}));
    });
    check.sums_of_bytes(*std::max_element(sums.begin(), sums.end()));
}

void check(LayerCheck& check) {
    check.bias();
    check.scale();
    const Shape stored{check_units(check), neuron_block, quad_synapses};
    check.part("indices", Number::u8, &stored);
    check.symmetric(check.part("weights", Number::i8, &stored));
    check_numbers(check);
    const auto* const indices = check.layer().data<uint8_t>("indices");
    check_synapses(check, [&](uint64_t place) -> uint64_t { return indices[place]; });
    check_sums(check);
}

}  // namespace

const Encoding sparse_int8{LayerKind::sparse, "sparse", "int8", WeightType::floats, check, places, &of_quads,
                           "indices", is_padding_index};

}  // namespace sparbor
