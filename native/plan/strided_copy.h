// Copies the numbers of a value, in order, to where another of as many numbers lies.
#pragma once

#include "plan/value.h"

namespace sparbor {

class StridedCopy {
public:
    StridedCopy(const Value& from, const Value& to);

    // From and to the first number of each.
    void run(const KernelSet& kernels, const void* from, void* to) const { run(kernels, from, to, 0, units_); }
    // Some of the units that threads can share.
    void run(const KernelSet& kernels, const void* from, void* to, size_t first, size_t last) const;
    size_t units() const { return units_; }
    double work() const;  // nanoseconds, roughly

private:
    // Numbers at equal distances on both sides, in bytes.
    struct Loop {
        size_t size, from, to;
    };
    // How what is innermost is copied: as a run of numbers; rows that become columns; numbers at other distances; or all
    // of it number by number, because the dimensions of the one do not divide those of the other.
    enum class Way { run, turned, apart, by_number };

    bool find_loops(const Value& from, const Value& to);
    void add(const Loop& loop);
    Loop take_out(size_t place);
    void choose_way();
    void copy_unit(const KernelSet& kernels, const char* from, char* to, size_t part) const;
    void copy_by_number(const char* from, char* to) const;

    Value from_value_, to_value_;
    size_t number_bytes_, count_;
    Way way_;
    std::vector<Loop> around_;  // from the innermost
    Loop inner_{1, 0, 0};       // that is copied at once; of rows that become columns, a row's numbers
    Loop rows_{1, 0, 0};        // those rows
    size_t parts_ = 1, part_ = 1;  // that the inner loop is divided into, and how long each but the last is
    size_t units_ = 1;
};

// A value of this type and shape as callers of the engine have it, without gaps.
Value without_gaps(Number type, const Shape& shape);

}  // namespace sparbor
