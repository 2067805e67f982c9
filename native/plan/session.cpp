#include "plan/session.h"

namespace sparbor {

void Session::prepare(size_t state, const Value& value) {
    Kept& kept = states_[state];
    if (kept.shape == value.shape) return;
    const std::string name = in_quotes(engine_.program().inputs[engine_.program().states[state].input].name);
    if (!kept.shape.empty())
        throw Refused("the session's " + name + " has shape " + to_text(kept.shape) + ", and this call needs " +
                          to_text(value.shape), "reset the session, or go on with as many items");
    const size_t bytes = numbers_of(value.shape) * bytes_of(value.type);
    kept = {value.shape, AlignedArray<char>(bytes), AlignedArray<char>(bytes)};
}

void Session::run(const Lease& lease, Given* inputs, void** outputs) {
    const std::vector<State>& states = engine_.program().states;
    for (size_t i = 0; i < states.size(); i++) {
        prepare(i, lease->plan().inputs[states[i].input].value);
        inputs[states[i].input] = {states_[i].now.data()};
        outputs[states[i].output] = states_[i].next.data();
    }
    engine_.run(lease, inputs, outputs);
    for (Kept& kept : states_) std::swap(kept.now, kept.next);
}

void Session::complete(Sizes& sizes) const {
    const Program& program = engine_.program();
    for (size_t i = 0; i < states_.size(); i++) {
        const ValueType& type = program.values[program.inputs[program.states[i].input].value];
        for (size_t d = 0; d < states_[i].shape.size(); d++)
            if (const int64_t named = type.shape[d].named(); named >= 0 && sizes[static_cast<size_t>(named)] == 0)
                sizes[static_cast<size_t>(named)] = states_[i].shape[d];
    }
}

}  // namespace sparbor
