// Dense weights as halves, times their output's scale.
#include "encodings/encoding.h"
#include "kernels/kernels.h"

namespace sparbor {
namespace {

void check_rows(LayerCheck& check, const Shape& stored) {
    check(halves_finite(check.part("halves", Number::u16, &stored)), "a weight is infinite or NaN");
    check.scale();
}

void check_dense(LayerCheck& check) {
    check.bias();
    check_rows(check, {ceil_div(check.layer().outputs, neuron_block), check.layer().fan_in, neuron_block});
}

void check_table(LayerCheck& check) { check_rows(check, {check.layer().outputs, check.layer().fan_in}); }

void check_filters(LayerCheck& check) {
    check.bias();
    check_table(check);
}

uint64_t places(const Layer& layer) { return layer.outputs * layer.fan_in; }

}  // namespace

const Encoding dense_halves{LayerKind::dense, "dense", "halves",
                            WeightType::halves, check_dense, places};
const Encoding filters_halves{LayerKind::filters, "filters", "halves",
                              WeightType::halves, check_filters, places};
const Encoding table_halves{LayerKind::table, "table", "halves",
                            WeightType::halves, check_table, places};

}  // namespace sparbor
