#include "ops/dense_panels.h"

#include "ops/outputs.h"

namespace sparbor {
namespace {

LaidOutWeights spread_panels(const Layer& layer) {
    if (is(layer, LayerKind::dense)) return {layer.encoding->type, 0};
    return spread(layer, round_up(layer.outputs, neuron_block) * layer.fan_in, [&](uint64_t row, uint64_t input) {
        return (row / neuron_block * layer.fan_in + input) * neuron_block + row % neuron_block;
    });
}

}  // namespace

DensePanels::DensePanels(const Layer& layer, float clamp_min)
    : scale_(padded(layer.data<float>("scale"), layer.outputs, neuron_block, 1.0f)),
      bias_(padded(layer.data<float>("bias"), layer.outputs, neuron_block, 0.0f)),
      spread_(spread_panels(layer)),
      layer_{is(layer, LayerKind::dense) ? dense_weights(layer, "panels") : spread_.array(), scale_.data(),
             bias_.data(), layer.fan_in, clamp_min} {}

}  // namespace sparbor
