// What is computed number by number of values of any type: loops that the compiler makes vectors of where the numbers
// lie one after another.
#pragma once

#include "ops/loops.h"
#include "ops/number_types.h"
#include "plan/placement.h"

namespace sparbor {

// Where the values of a run begin, the output first, and how far each moves, in its numbers.
using Places = std::array<char*, Loops::most_values>;
using TypedRun = void (*)(const Places& at, const Loops::Steps& steps, size_t count);

template <class Number>
Number* as(char* place) {
    return reinterpret_cast<Number*>(place);
}

template <class Of, class Y, class X>
void run_one(const Places& at, const Loops::Steps& steps, size_t count) {
    Y* const y = as<Y>(at[0]);
    const X* const x = as<X>(at[1]);
    if (steps[0] == 1 && steps[1] == 1)
        for (size_t i = 0; i < count; i++) y[i] = Of::template of<Y>(x[i]);
    else
        for (size_t i = 0; i < count; i++) y[i * steps[0]] = Of::template of<Y>(x[i * steps[1]]);
}

template <class Of, class Y, class X>
void run_two(const Places& at, const Loops::Steps& steps, size_t count) {
    Y* const y = as<Y>(at[0]);
    const X *const left = as<X>(at[1]), *const right = as<X>(at[2]);
    if (steps[0] == 1 && steps[1] == 1 && steps[2] == 1) {
        for (size_t i = 0; i < count; i++) y[i] = Of::of(left[i], right[i]);
    } else if (steps[0] == 1 && steps[1] == 1 && steps[2] == 0) {
        const X one = *right;
        for (size_t i = 0; i < count; i++) y[i] = Of::of(left[i], one);
    } else if (steps[0] == 1 && steps[1] == 0 && steps[2] == 1) {
        const X one = *left;
        for (size_t i = 0; i < count; i++) y[i] = Of::of(one, right[i]);
    } else {
        for (size_t i = 0; i < count; i++) y[i * steps[0]] = Of::of(left[i * steps[1]], right[i * steps[2]]);
    }
}

class TypedStep final : public Step {
public:
    TypedStep(const std::vector<Value>& x, const Value& y, TypedRun run) : loops_(loops_over(y, x)), run_(run) {
        add(y);
        for (const Value& each : x) add(each);
    }

    void run(const Call& call) const override {
        for_parts(call, loops_, 0.3, [&](const Loops::Steps& at, size_t count) {
            Places places{};
            for (size_t i = 0; i < values_; i++) places[i] = call.memory() + offsets_[i] + at[i] * bytes_[i];
            run_(places, loops_.steps(), count);
        });
    }

private:
    void add(const Value& value) {
        offsets_[values_] = value.offset;
        bytes_[values_++] = bytes_of(value.type);
    }

    Loops loops_;
    TypedRun run_;
    size_t values_ = 0;
    std::array<size_t, Loops::most_values> offsets_{}, bytes_{};
};

}  // namespace sparbor
