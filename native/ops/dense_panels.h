// A linear layer's weights as dense kernels want them.
#pragma once

#include <vector>

#include "ops/laid_out_weights.h"

namespace sparbor {

class DensePanels {
public:
    // Of a dense layer, whose tensors stay its own, or of a sparse one, which is spread.
    DensePanels(const Layer& layer, float clamp_min);
    DensePanels(const DensePanels&) = delete;
    DensePanels& operator=(const DensePanels&) = delete;

    const DenseLayer& layer() const { return layer_; }

private:
    std::vector<float> scale_, bias_;  // padded to whole groups
    LaidOutWeights spread_;            // of a sparse layer
    DenseLayer layer_;
};

}  // namespace sparbor
