// Dense weights that are laid out for kernels: copied in another order, or spread from slots.
#pragma once

#include "encodings/slots.h"
#include "ir/aligned_array.h"

namespace sparbor {

class LaidOutWeights {
public:
    LaidOutWeights(WeightType type, size_t count)
        : bytes_(count * (type == WeightType::floats ? sizeof(float) : sizeof(uint16_t))), type_(type) {}

    WeightArray array() const { return {type_, bytes_.data()}; }
    // From the `from`-th weight on.
    WeightArray array(size_t from) const {
        return with_numbers(array(), [&](const auto* numbers) { return WeightArray{type_, numbers + from}; });
    }
    template <class Number>
    Number* as() const { return reinterpret_cast<Number*>(bytes_.data()); }

private:
    AlignedArray<uint8_t> bytes_;
    WeightType type_;
};

// Those of a dense layer, whose exact ones are the part of this name.
inline WeightArray dense_weights(const Layer& layer, const char* exact) {
    switch (layer.encoding->type) {
        case WeightType::floats: return {WeightType::floats, layer.data<float>(exact)};
        case WeightType::halves: break;
    }
    return {WeightType::halves, layer.data<uint16_t>("halves")};
}

// The weights of a sparse layer at all places that it could have, zeros elsewhere: a synapse word is a half, so that
// nothing is rounded. place(row, input) is one of `count`.
template <class Place>
LaidOutWeights spread(const Layer& layer, size_t count, const Place& place) {
    LaidOutWeights weights(layer.encoding->type, count);
    switch (layer.encoding->type) {
        case WeightType::floats: spread_slots(layer, layer.data<float>("weights"), weights.as<float>(), place); break;
        case WeightType::halves: spread_slots(layer, layer.data<uint16_t>("words"), weights.as<uint16_t>(), place);
    }
    return weights;
}

}  // namespace sparbor
