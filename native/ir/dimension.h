// A dimension of a value: a number, or what is computed of named sizes, which are known when a model runs.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "ir/json_type.h"
#include "ir/shape.h"

namespace sparbor {

// The names of a program's sizes, such as "batch" and "sequence", in the order in which its inputs have them.
using SizeNames = std::vector<std::string>;
constexpr size_t most_sizes = 16;

// A number for each. In a call nothing is allocated, so they are not a vector.
class Sizes {
public:
    Sizes(size_t count, uint64_t number) : count_(count) { std::fill_n(numbers_.begin(), count, number); }

    uint64_t operator[](size_t i) const { return numbers_[i]; }
    uint64_t& operator[](size_t i) { return numbers_[i]; }
    bool operator==(const Sizes& other) const {
        return count_ == other.count_ &&
               std::equal(numbers_.begin(), numbers_.begin() + count_, other.numbers_.begin());
    }

private:
    size_t count_;
    std::array<uint64_t, most_sizes> numbers_;
};

class Dimension {
public:
    // A number, a name, or an operation as a list: ["+", 1, "sequence"], ["-", "sequence", 2], ["*", 64, "batch"],
    // ["//", ...] (rounded down). Its names are among `names`; if `names_new` it is a number or one name, which is added to them. Throws
    // Refused.
    Dimension(const Json& entry, SizeNames& names, bool names_new);

    // From 1 to largest_dimension, or throws Refused.
    uint64_t at(const Sizes& sizes) const;
    // The place of its name among the sizes if it is nothing but one, or -1.
    int64_t named() const;
    // Whether it is that size, or computed of it; by its place.
    bool has(size_t size) const;
    bool is_number() const { return tokens_.size() == 1 && tokens_[0].kind == Token::number; }
    std::string text(const SizeNames& names) const;

private:
    struct Token {
        enum Kind { number, size, plus, minus, times, over } kind;
        uint64_t value;  // the number, or the place of the size among the names
    };
    static const char* between(Token::Kind kind);
    void read(const Json& entry, SizeNames& names, bool names_new);

    std::vector<Token> tokens_;  // operands before what is done with them
};

constexpr uint64_t largest_dimension = uint64_t{1} << 40, largest_value = uint64_t{1} << 50;

}  // namespace sparbor
