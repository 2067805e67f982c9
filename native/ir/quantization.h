// What the bytes of a value stand for, where they are no whole numbers.
#pragma once

#include <cstdint>

namespace sparbor {

// A byte is the number (byte - zero) * step.
struct Quantization {
    float step;    // positive, finite, not subnormal
    int32_t zero;  // 0 to 255

    bool operator==(const Quantization&) const = default;
};

}  // namespace sparbor
