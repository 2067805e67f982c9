// The dimensions of a value, as numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sparbor {

using Shape = std::vector<uint64_t>;

constexpr size_t most_dimensions = 9;  // files of version 2 had up to eight, and the batch

// The product of these numbers if it is at most `most`.
inline std::optional<uint64_t> product(const Shape& shape, uint64_t most) {
    uint64_t result = 1;
    for (const uint64_t each : shape)
        if (each == 0) return 0;
    for (const uint64_t each : shape) {
        if (each > most / result) return std::nullopt;
        result *= each;
    }
    return result;
}

// How many numbers a value of this shape has, if the shape has been checked.
inline uint64_t numbers_of(const Shape& shape) { return *product(shape, UINT64_MAX); }

constexpr uint64_t ceil_div(uint64_t value, uint64_t divisor) { return value / divisor + (value % divisor != 0); }

// As Python shows a tuple: "(3, 32, 32)", "(10,)".
inline std::string to_text(const Shape& shape) {
    std::string text = "(";
    for (size_t i = 0; i < shape.size(); i++) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
    return text + (shape.size() == 1 ? ",)" : ")");
}

}  // namespace sparbor
