// What the types of numbers are to C++.
#pragma once

#include <stdexcept>
#include <type_traits>

#include "ir/number.h"

namespace sparbor {

template <class Type>
struct Typed {
    using Number = Type;
};

// Calls use(Typed<the type of C++>); what is true or false is a byte of 1 or 0.
template <class Use>
auto with_type(Number type, const Use& use) {
    switch (type) {
        case Number::f32: return use(Typed<float>{});
        case Number::i8: return use(Typed<int8_t>{});
        case Number::i32: return use(Typed<int32_t>{});
        case Number::i64: return use(Typed<int64_t>{});
        case Number::u8:
        case Number::boolean: return use(Typed<uint8_t>{});
        case Number::u16: break;  // of tensors alone
    }
    throw std::logic_error("a value is of a type that no value has");
}

// The same of numbers that are computed with: f32, i32 and i64.
constexpr bool is_arithmetic(Number type) {
    return type == Number::f32 || type == Number::i32 || type == Number::i64;
}

template <class Use>
auto with_arithmetic_type(Number type, const Use& use) {
    if (type == Number::i32) return use(Typed<int32_t>{});
    if (type == Number::i64) return use(Typed<int64_t>{});
    return use(Typed<float>{});
}

// Calls use(Typed<a type of so many bytes>), for what only moves numbers.
template <class Use>
auto with_bytes(Number type, const Use& use) {
    if (bytes_of(type) == 1) return use(Typed<uint8_t>{});
    if (bytes_of(type) == 4) return use(Typed<uint32_t>{});
    return use(Typed<uint64_t>{});
}

}  // namespace sparbor
