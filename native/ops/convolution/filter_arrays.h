// A dense convolution's layer as steps lay it out.
#pragma once

#include "ir/layer.h"

namespace sparbor {

// Row-major weights as floats or as halves, the other null; scale and bias one an output, or null for ones and zeros.
struct FilterArrays {
    explicit FilterArrays(const Layer& layer)
        : weights(layer.data<float>("weights")), halves(layer.data<uint16_t>("halves")),
          scale(layer.data<float>("scale")), bias(layer.data<float>("bias")) {}

    const float* weights;
    const uint16_t* halves;
    const float* scale;
    const float* bias;
};

}  // namespace sparbor
