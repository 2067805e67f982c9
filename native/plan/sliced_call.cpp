#include "plan/sliced_call.h"

#include <functional>

namespace sparbor {

SlicedCall::SlicedCall(const Plan& whole, const Given* inputs, void* const* outputs)
    : whole_(whole), outputs_(outputs), given_(inputs, inputs + whole.inputs.size()), now_(given_),
      to_(outputs, outputs + whole.outputs.size()) {
    for (size_t i = 0; i < given_.size(); i++) {
        const size_t bytes = numbers_of(whole.inputs[i].value.shape) * bytes_of_input(i);
        if (!is_overwritten(i, bytes)) continue;
        const char* const data = static_cast<const char*>(given_[i].data);
        given_[i].data = aside_.emplace_back(data, data + bytes).data();  // which stays there when the outer one grows
    }
}

void SlicedCall::go_to(size_t slice) {
    const size_t first = whole_.slices->first(slice);
    for (size_t i = 0; i < now_.size(); i++)
        now_[i].data = static_cast<const char*>(given_[i].data) +
                       first * whole_.slices->input_steps[i] * bytes_of_input(i);
    for (size_t i = 0; i < to_.size(); i++)
        to_[i] = static_cast<char*>(outputs_[i]) + first * whole_.slices->output_steps[i] * bytes_of_output(i);
}

size_t SlicedCall::bytes_of_input(size_t port) const {
    return given_[port].bytes ? 1 : bytes_of(whole_.inputs[port].value.type);
}

bool SlicedCall::is_overwritten(size_t input, size_t bytes) const {
    const std::less<const char*> before;
    const char* const x = static_cast<const char*>(given_[input].data);
    for (size_t i = 0; i < to_.size(); i++) {
        const char* const y = static_cast<const char*>(outputs_[i]);
        const size_t numbers = numbers_of(whole_.outputs[i].value.shape);
        if (before(x, y + numbers * bytes_of_output(i)) && before(y, x + bytes)) return true;
    }
    return false;
}

}  // namespace sparbor
