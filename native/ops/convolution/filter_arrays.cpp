#include "ops/convolution/filter_arrays.h"

#include "encodings/slots.h"

namespace sparbor {
namespace {

// The numbers of the rows that are outputs, and not there to fill a group; null stays null.
const float* real_ones(const float* numbers, const std::vector<bool>& real, std::vector<float>& kept) {
    for (size_t row = 0; numbers && row < real.size(); row++)
        if (real[row]) kept.push_back(numbers[row]);
    return numbers ? kept.data() : nullptr;
}

}  // namespace

FilterArrays::FilterArrays(const Layer& layer, const Geometry& geometry)
    : weights(), scale(layer.data<float>("scale")), bias(layer.data<float>("bias")), spread_(layer.encoding->type, 0) {
    if (is(layer, LayerKind::filters)) {
        weights = dense_weights(layer, "weights");
        return;
    }
    const auto outputs = static_cast<uint64_t>(geometry.out_channels), groups = static_cast<uint64_t>(geometry.groups);
    const std::vector<bool> real = real_rows(outputs, groups);
    const uint64_t whole = real.size() / groups, each = outputs / groups;
    spread_ = spread(layer, outputs * layer.fan_in, [&](uint64_t row, uint64_t input) {
        return (row / whole * each + row % whole) * layer.fan_in + input;
    });
    weights = spread_.array();
    scale = real_ones(scale, real, scale_);
    bias = real_ones(bias, real, bias_);
}

}  // namespace sparbor
