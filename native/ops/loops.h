// Values that are gone through together: one that is computed, number by number, and those that it is computed of.
#pragma once

#include <array>
#include <vector>

#include "plan/call.h"

namespace sparbor {

// All indices of a shape as runs: along one each value moves by a step of its own, which may be 0.
class Loops {
public:
    static constexpr size_t most_values = 4;
    using Steps = std::array<size_t, most_values>;  // of each value, in its numbers

    // How far each value moves with each dimension of the shape.
    Loops(const Shape& shape, const std::vector<std::vector<size_t>>& strides);

    size_t count() const { return count_; }    // of runs
    size_t length() const { return length_; }  // of each
    const Steps& steps() const { return steps_; }
    Steps run(size_t number) const;  // where a run begins

private:
    struct Around {
        size_t size;
        Steps steps;
    };
    void add(const Around& dimension);

    std::vector<Around> around_;  // from the innermost
    size_t values_, count_ = 1, length_ = 1;
    Steps steps_{};
};

// How far an operand moves with each dimension of the output: not at all where it has a single number.
std::vector<size_t> broadcast_strides(const Value& operand);

// The output and operands that are broadcast to it.
Loops loops_over(const Value& y, const std::vector<Value>& x);

// Calls part(where each value is, how many numbers from there on) for parts of all runs, split over the threads.
template <class Part>
void for_parts(const Call& call, const Loops& loops, double nanoseconds, const Part& part) {
    constexpr size_t most = 1 << 14;  // numbers of a part
    const size_t parts = ceil_div(loops.length(), most);
    const double work = nanoseconds * static_cast<double>(loops.count()) * static_cast<double>(loops.length());
    call.split(loops.count() * parts, work, [&](size_t first, size_t last, size_t) {
        for (size_t i = first; i < last; i++) {
            Loops::Steps at = loops.run(i / parts);
            const size_t begin = i % parts * most;
            for (size_t value = 0; value < at.size(); value++) at[value] += begin * loops.steps()[value];
            part(at, std::min(most, loops.length() - begin));
        }
    });
}

}  // namespace sparbor
