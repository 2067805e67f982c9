// Copies the numbers of a value, in order, to where another of as many numbers lies.
#pragma once

#include "plan/value.h"

namespace sparbor {

class StridedCopy {
public:
    StridedCopy(const Value& from, const Value& to);

    // From and to the first number of each.
    void run(const void* from, void* to) const;

private:
    // A value as runs of consecutive numbers. Dimensions that go on where the next ones end are one.
    struct Runs {
        explicit Runs(const Value& value);
        std::vector<size_t> sizes, steps;  // of what is around the runs, from the innermost; steps in bytes
        size_t length = 1;                 // of a run, in numbers
    };
    class Cursor;

    size_t number_bytes_, count_;
    Runs from_, to_;
};

// A value of this type and shape as callers of the engine have it, without gaps.
Value without_gaps(Number type, const Shape& shape);

}  // namespace sparbor
