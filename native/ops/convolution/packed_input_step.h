// Steps whose kernels read a packed input: what of some pixels, prepared in a part of a cache.
#pragma once

#include "plan/call.h"

namespace sparbor {

constexpr size_t packed_budget = 128 * 1024;  // floats: well inside a second cache of 1 MiB

// Whole lane groups, an odd number of them: what lies so far apart falls into different lines of a cache.
constexpr size_t spread_apart(size_t floats) {
    return (round_up(floats, column_tile) / column_tile | 1) * column_tile;
}

// The work of a batch falls into units, each with a packed input of its own. A unit's inputs can be prepared one by one, and
// so can the blocks of its outputs be computed.
class PackedInputStep : public Step {
public:
    explicit PackedInputStep(size_t items) : items_(items) {}
    void run(const Call& call) const final;
    size_t scratch_floats() const final { return own_floats() + packed_floats(); }

protected:
    size_t items() const { return items_; }
    virtual size_t units() const = 0;
    virtual size_t inputs(size_t unit) const = 0;
    virtual size_t blocks(size_t unit) const = 0;
    virtual double item_work() const = 0;  // nanoseconds, roughly

    virtual size_t own_floats() const = 0;  // that a thread needs beside the packed input
    virtual size_t packed_floats() const = 0;
    virtual void prepare(const Call& call, size_t unit, size_t first_input, size_t last_input, float* own,
                         float* packed) const = 0;
    virtual void compute(const Call& call, size_t unit, size_t first_block, size_t last_block, float* own,
                         const float* packed) const = 0;

private:
    size_t items_;  // of the batch
};

}  // namespace sparbor
