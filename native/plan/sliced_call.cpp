#include "plan/sliced_call.h"

#include <cstring>

namespace sparbor {

SlicedCall::SlicedCall(const Plan& whole, const Given* inputs)
    : whole_(whole), given_(inputs), now_(inputs, inputs + whole.inputs.size()), to_(whole.outputs.size()) {
    for (const PortCopy& port : whole.outputs) aside_.emplace_back(new char[bytes_outside(port)]);
}

void SlicedCall::go_to(size_t slice) {
    const Slices& slices = *whole_.slices;
    const size_t first = slices.first(slice);
    for (size_t i = 0; i < now_.size(); i++) {
        const size_t bytes = given_[i].bytes ? 1 : bytes_of(whole_.inputs[i].value.type);
        now_[i].data = static_cast<const char*>(given_[i].data) + first * slices.input_steps[i] * bytes;
    }
    for (size_t i = 0; i < to_.size(); i++)
        to_[i] = aside_[i].get() + first * slices.output_steps[i] * bytes_of(whole_.outputs[i].value.type);
}

void SlicedCall::give(void* const* outputs) const {
    for (size_t i = 0; i < aside_.size(); i++)
        std::memcpy(outputs[i], aside_[i].get(), bytes_outside(whole_.outputs[i]));
}

}  // namespace sparbor
