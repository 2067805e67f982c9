// What operators on quantized values have in common.
#pragma once

#include "plan/call.h"

namespace sparbor {

inline uint8_t* bytes_at(const Call& call, size_t offset) {
    return reinterpret_cast<uint8_t*>(call.memory()) + offset;
}

// Refuses a node with an input or an output that is not quantized.
inline void check_quantized(const Node& node) {
    for (size_t i = 0; i < node.inputs(); i++)
        node.require(node.x_quantization(i).has_value(), "its inputs are not all quantized");
    node.require(node.y_quantization().has_value(), "its output is not quantized");
}

}  // namespace sparbor
