// Indices that a call gives: looked at before anything is read by them.
#pragma once

#include <string>

#include "ops/loops.h"

namespace sparbor {

// What they are called in errors, what they choose from, whether negative ones count from its end, and what is said to do
// if that is not to pass others.
struct IndexRule {
    std::string what;      // "embedding 'tokens': id"
    std::string chosen;    // "one of its rows"
    uint64_t size;         // of what they choose from
    bool from_the_end;
    std::string remedy = "";
};

class Indices {
public:
    Indices(const Value& value, IndexRule rule)
        : value_(value), loops_(value.shape, {value.strides}), rule_(std::move(rule)) {}

    // Throws Refused, which names the first that chooses nothing and its place in the caller's whole call.
    void check(const Call& call) const;

    // The index so many numbers from the first on, as it is counted from 0.
    size_t at(const char* memory, size_t number) const {
        const int64_t index = read(memory, number);
        return static_cast<size_t>(index < 0 ? index + static_cast<int64_t>(rule_.size) : index);
    }

private:
    int64_t read(const char* memory, size_t number) const {
        const char* const begin = memory + value_.offset;
        if (value_.type == Number::i64) return reinterpret_cast<const int64_t*>(begin)[number];
        return reinterpret_cast<const int32_t*>(begin)[number];
    }
    [[noreturn]] void refuse(int64_t index, size_t number, size_t first_item) const;

    Value value_;
    Loops loops_;
    IndexRule rule_;
};

}  // namespace sparbor
