// The types of numbers that values and tensors have; and those of a graph, which are doubles, as floats.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace sparbor {

enum class Number { f32, u16, u8, i8, i32, i64, boolean };

constexpr Number all_numbers[] = {Number::f32, Number::u16, Number::u8,     Number::i8,
                                  Number::i32, Number::i64, Number::boolean};

constexpr size_t bytes_of(Number type) {
    switch (type) {
        case Number::f32:
        case Number::i32: return 4;
        case Number::i64: return 8;
        case Number::u16: return 2;
        case Number::u8:
        case Number::i8:
        case Number::boolean: return 1;
    }
    return 0;  // there is no other, which the compiler does not know
}

// As model files and error texts have it.
constexpr const char* to_text(Number type) {
    switch (type) {
        case Number::f32: return "f32";
        case Number::u16: return "u16";
        case Number::u8: return "u8";
        case Number::i8: return "i8";
        case Number::i32: return "i32";
        case Number::i64: return "i64";
        case Number::boolean: return "bool";
    }
    return "";
}

inline std::optional<Number> find_number(const std::string& name) {
    for (const Number each : all_numbers)
        if (name == to_text(each)) return each;
    return std::nullopt;
}

// The nearest float, or an infinity beyond all of them.
inline float as_float(double value) {
    constexpr float most = std::numeric_limits<float>::max(), infinity = std::numeric_limits<float>::infinity();
    if (std::abs(value) > most) return value > 0 ? infinity : -infinity;
    return static_cast<float>(value);
}

}  // namespace sparbor
