// What a program's operations are for some sizes: the steps that compute them, and where in memory.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "plan/placement.h"
#include "plan/strided_copy.h"

namespace sparbor {

// A value that callers give or get: without gaps on their side.
struct PortCopy {
    Value value;
    StridedCopy copy;
};

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
    std::vector<StateCopy> states;
    size_t first_overwriting;  // the first step that writes where a state lies, or more than there are
    std::map<std::string, const char*> ways;  // by layer: "sparse" or "dense"
    size_t state_bytes;     // of the states, which come first, in the same places whatever the other sizes are
    size_t bytes;           // of all values
    size_t scratch_floats;  // of a thread
};

// Throws Refused if the operations cannot have these sizes. `layers` has a place for each operation.
std::unique_ptr<Plan> make_plan(const Program& program, const KernelSet& kernels, const Sizes& sizes,
                                std::vector<LaidOut>& layers, bool as_stored);

}  // namespace sparbor
