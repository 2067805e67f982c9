// What the sums of a quantized layer become: bytes of its output's step and zero.
#pragma once

#include <vector>

#include "kernels/pixels.h"
#include "ops/outputs.h"

namespace sparbor {

// Refuses an operation whose steps and scales are so far apart that a result may be no finite float.
void check_requantization(const Node& node);

class RequantizedOutputs {
public:
    // `sums` are those of each neuron's weights, padded to whole groups; the layer has a scale, and perhaps a bias.
    RequantizedOutputs(const Node& node, const KernelSet& kernels, const std::vector<int32_t>& sums);
    RequantizedOutputs(const RequantizedOutputs&) = delete;
    RequantizedOutputs& operator=(const RequantizedOutputs&) = delete;

    const Requantization& to() const { return to_; }

private:
    std::vector<float> multiplier_, shift_;
    Requantization to_;
};

}  // namespace sparbor
