// What a program's operations are for some sizes: the steps that compute them, and where in memory.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "plan/placement.h"
#include "plan/slices.h"
#include "plan/strided_copy.h"

namespace sparbor {

// What a caller gives for an input: numbers without gaps, of the input's type, or bytes where those are taken.
struct Given {
    const void* data;
    bool bytes = false;
};

// A value that callers give or get: without gaps on their side.
struct PortCopy {
    Value value;
    StridedCopy copy;
};

// What it takes on the callers' side.
inline size_t bytes_outside(const PortCopy& port) { return numbers_of(port.value.shape) * bytes_of(port.value.type); }

// Where a state lies when a call begins, and what it is when the call ends. That may be the same place, and is copied
// there otherwise.
struct StateCopy {
    Value now, next;
    bool stays;
    StridedCopy copy;
};

struct Plan {
    Sizes sizes{0, 0};
    std::vector<std::unique_ptr<Step>> steps;
    std::vector<PortCopy> inputs, outputs;
    bool takes_given = false;  // the first step takes the only input where the caller has it
    std::vector<StateCopy> states;
    size_t first_overwriting;  // the first step that writes where a state lies, or more than there are
    std::map<std::string, const char*> ways;  // by layer: "sparse" or "dense"
    double work;  // of a call, as `work_of` counts it
    size_t state_bytes;     // of the states, which come first, in the same places whatever the other sizes are
    size_t bytes;           // of all values
    size_t scratch_floats;  // of a thread
    std::unique_ptr<Slices> slices;  // instead of steps, if there are any
    size_t bytes_aside = 0;          // of the outputs of slices, which are put aside until all are done
};

// What all plans of a program have in common.
struct Planning {
    bool as_stored;               // layers run sparse or dense as they are stored, not as is faster
    size_t threads;               // that share the work
    std::optional<size_t> items;  // the size that calls may be sliced along: find_items
};

// Throws Refused if the operations cannot have these sizes. `layers` has a place for each operation.
std::unique_ptr<Plan> make_plan(const Program& program, const KernelSet& kernels, const Sizes& sizes,
                                std::vector<LaidOut>& layers, const Planning& planning);

}  // namespace sparbor
