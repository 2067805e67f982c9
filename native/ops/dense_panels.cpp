#include "ops/dense_panels.h"

#include "encodings/slots.h"
#include "ops/outputs.h"

namespace sparbor {

DensePanels::DensePanels(const Layer& layer, float clamp_min)
    : scale_(padded(layer.data<float>("scale"), layer.outputs, group_size, 1.0f)),
      bias_(padded(layer.data<float>("bias"), layer.outputs, group_size, 0.0f)),
      layer_{layer.data<float>("panels"), layer.data<uint16_t>("halves"), scale_.data(), bias_.data(), layer.fan_in,
             clamp_min} {
    if (is(layer, LayerKind::dense)) return;
    const size_t places = round_up(layer.outputs, group_size) * layer.fan_in;
    const auto place = [&](uint64_t row, uint64_t input) {
        return (row / group_size * layer.fan_in + input) * group_size + row % group_size;
    };
    if (layer.parts.count("words")) {
        halves_ = spread<uint16_t>(layer, places, place);
        layer_.halves = halves_.data();
    } else {
        weights_ = spread<float>(layer, places, place);
        layer_.panels = weights_.data();
    }
}

}  // namespace sparbor
