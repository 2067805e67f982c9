// What callers give and get, slice by slice.
#pragma once

#include "plan/plan.h"

namespace sparbor {

// Outputs are put aside until all slices are done: an operation may refuse what a later one is given, and a caller may
// want an output where an input lies, which later ones are still to read.
class SlicedCall {
public:
    SlicedCall(const Plan& whole, const Given* inputs);

    void go_to(size_t slice);
    const Given* inputs() const { return now_.data(); }
    void* const* outputs() const { return to_.data(); }
    void give(void* const* outputs) const;

private:
    const Plan& whole_;
    const Given* given_;
    std::vector<Given> now_;
    std::vector<std::unique_ptr<char[]>> aside_;
    std::vector<void*> to_;
};

}  // namespace sparbor
