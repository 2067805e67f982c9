// Calls of many items that are computed some items at a time: what is computed of those stays in the caches until it has
// been read, where that of all items would not.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "ir/program.h"
#include "plan/value.h"

namespace sparbor {

struct Plan;

// A call as slices of nearly as many items each, one after another.
struct Slices {
    size_t items, count;
    std::vector<std::unique_ptr<Plan>> plans;  // of the smallest slices and, if there are such, of those with one item more
    std::vector<size_t> input_steps, output_steps;  // numbers of an item, by port; 0 of what all items share

    size_t first(size_t slice) const { return items * slice / count; }
    const Plan& plan(size_t slice) const {
        const size_t more = first(slice + 1) - first(slice) - items / count;
        return *plans[more];
    }
};

// The size that counts the items, if each is computed by itself; its place among the program's sizes.
std::optional<size_t> find_items(const Program& program);

// Whether it is among the dimensions of the value, which then has an item's numbers at each index of the first.
inline bool has_items(const ValueType& value, size_t items) {
    return !value.shape.empty() && value.shape[0].named() == static_cast<int64_t>(items);
}

// How many slices are worth it: 1 for a call in one piece. It has so many items, their values take so many bytes at a
// time and are so many altogether, and each slice reads `shared` bytes once more.
struct CallBytes {
    size_t at_a_time, altogether, shared;
};
size_t worth_slices(size_t items, const CallBytes& bytes, size_t threads);

}  // namespace sparbor
