// Synapses as 16-bit words: a half whose five lowest bits are the input's index within its branch, times its neuron's
// scale. The word 0 is padding.
#include "encodings/slots.h"

namespace sparbor {
namespace {

bool is_padding(const uint8_t* words, uint64_t place) { return reinterpret_cast<const uint16_t*>(words)[place] == 0; }

uint64_t places(const Layer& layer) { return layer.parts.at("words").count(); }

void check(LayerCheck& check) {
    check.bias();
    const Shape stored{check_units(check), neuron_block};
    check(halves_finite(check.part("words", Number::u16, &stored)), "a synapse word is infinite or NaN");
    check.scale();
    const auto* const words = check.layer().data<uint16_t>("words");
    check_synapses(check, [&](uint64_t place) -> uint64_t { return words[place] % branch_size; });
}

}  // namespace

const Encoding sparse_word16{LayerKind::sparse, "sparse", "word16", WeightType::halves, check, places, &of_slots,
                              "words", is_padding};

}  // namespace sparbor
