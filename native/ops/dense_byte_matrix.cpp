#include "ops/dense_byte_matrix.h"

#include "encodings/slots.h"
#include "ops/outputs.h"

namespace sparbor {

DenseByteMatrix::DenseByteMatrix(const Layer& layer, const Runs& runs, float clamp_min)
    : scale_(padded(layer.data<float>("scale"), layer.outputs, neuron_block, 1.0f)),
      bias_(padded(layer.data<float>("bias"), layer.outputs, neuron_block, 0.0f)),
      sums_(round_up(layer.outputs, neuron_block)),
      panels_(sums_.size() * runs.count * round_up(runs.inputs, dot_inputs)),
      layer_{panels_.data(), runs.count,   ceil_div(runs.inputs, dot_inputs), scale_.data(), bias_.data(),
             sums_.data(),   clamp_min} {
    const auto* const weights = layer.data<int8_t>("weights");
    const uint64_t run_places = layer_.fours * dot_inputs, panel_fours = layer_.runs * layer_.fours;
    const auto put = [&](uint64_t row, uint64_t input, uint64_t place) {
        const uint64_t at = input / runs.apart * run_places + input % runs.apart;
        panels_.data()[panel_place(panel_fours, row, at)] = weights[place];
        sums_[row] += weights[place];
    };
    if (is(layer, LayerKind::sparse)) {
        const auto* const indices = layer.data<uint8_t>("indices");
        for_each_synapse(layer, [&](uint64_t place) -> uint64_t { return indices[place]; }, put);
    } else {
        for (uint64_t row = 0, place = 0; row < layer.outputs; row++)
            for (uint64_t input = 0; input < layer.fan_in; input++) put(row, input, place++);
    }
}

}  // namespace sparbor
