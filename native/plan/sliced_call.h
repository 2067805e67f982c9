// What callers give and get, slice by slice.
#pragma once

#include "plan/plan.h"

namespace sparbor {

class SlicedCall {
public:
    // A caller may want an output where an input lies, which later slices are still to read: that is put aside.
    SlicedCall(const Plan& whole, const Given* inputs, void* const* outputs);

    void go_to(size_t slice);
    const Given* inputs() const { return now_.data(); }
    void* const* outputs() const { return to_.data(); }

private:
    // Bytes of one of a port's numbers as the caller has them.
    size_t bytes_of_input(size_t port) const;
    size_t bytes_of_output(size_t port) const { return bytes_of(whole_.outputs[port].value.type); }
    bool is_overwritten(size_t input, size_t bytes) const;

    const Plan& whole_;
    void* const* outputs_;
    std::vector<Given> given_, now_;
    std::vector<void*> to_;
    std::vector<std::vector<char>> aside_;
};

}  // namespace sparbor
