// What results that are computed in steps of a quantized output become.
#pragma once

#include "kernels/bytes.h"
#include "ops/outputs.h"

namespace sparbor {

inline ByteRange range_of(const Quantization& quantization) { return {quantization.step, quantization.zero}; }

// A step of the input in steps of the output.
inline float ratio_of(const Quantization& x, const Quantization& y) { return x.step / y.step; }

// Of the node's output, and with its activation: one that only keeps results within bounds does so with their bytes.
ByteEnding byte_ending_of(const Node& node, const KernelSet& kernels);

// Refuses an operation whose output's step is so much smaller than an input's that results may be no finite floats.
void check_ratio(const Node& node, size_t input);

}  // namespace sparbor
