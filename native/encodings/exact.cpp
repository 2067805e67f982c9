// Weights as they were trained, floats: of sparse layers with an index byte each, where 0x80 is padding; of dense ones
// in panels of 16 outputs; of dense convolutions as filters, row by row, and so of tables.
#include "encodings/slots.h"

namespace sparbor {
namespace {

void take_weights(LayerCheck& check, const char* part, const Shape& stored) {
    check(all_finite(check.part(part, Number::f32, &stored)), "a weight is infinite or NaN");
}

void check_sparse(LayerCheck& check) {
    check.bias();
    const Shape stored{check_units(check), neuron_block};
    take_weights(check, "weights", stored);
    check.part("indices", Number::u8, &stored);
    const auto* const indices = check.layer().data<uint8_t>("indices");
    check_synapses(check, [&](uint64_t place) -> uint64_t { return indices[place]; });
}

void check_dense(LayerCheck& check) {
    check.bias();
    take_weights(check, "panels",
                 {ceil_div(check.layer().outputs, neuron_block), check.layer().fan_in, neuron_block});
}

void check_table(LayerCheck& check) {
    take_weights(check, "weights", {check.layer().outputs, check.layer().fan_in});
}

void check_filters(LayerCheck& check) {
    check.bias();
    check_table(check);
}

uint64_t stored_places(const Layer& layer) { return layer.parts.at("weights").count(); }
uint64_t all_places(const Layer& layer) { return layer.outputs * layer.fan_in; }

}  // namespace

const Encoding sparse_exact{LayerKind::sparse, "sparse", "exact",
                            WeightType::floats, check_sparse, stored_places, &of_slots, "indices", is_padding_index};
const Encoding dense_exact{LayerKind::dense, "dense", "exact",
                           WeightType::floats, check_dense, all_places};
const Encoding filters_exact{LayerKind::filters, "filters", "exact",
                             WeightType::floats, check_filters, all_places};
const Encoding table_exact{LayerKind::table, "table", "exact",
                           WeightType::floats, check_table, all_places};

}  // namespace sparbor
