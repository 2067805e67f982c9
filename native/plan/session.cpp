#include "plan/session.h"

namespace sparbor {

// States of the shapes that the call needs: zeros before the first one.
void Session::prepare(const Plan& plan) {
    const std::vector<State>& states = engine_.program().states;
    for (size_t i = 0; i < states.size(); i++) {
        const Shape& needed = plan.inputs[states[i].input].value.shape;
        if (kept_.empty() || kept_[i].shape == needed) continue;
        throw Refused("the session's " + in_quotes(engine_.program().inputs[states[i].input].name) + " has shape " +
                          to_text(kept_[i].shape) + ", and this call needs " + to_text(needed),
                      "reset the session, or go on with as many items");
    }
    if (!kept_.empty()) return;
    std::vector<Kept> made;
    for (const State& state : states) {
        const Value& value = plan.inputs[state.input].value;
        const size_t bytes = numbers_of(value.shape) * bytes_of(value.type);
        made.push_back({value.shape, AlignedArray<char>(bytes), AlignedArray<char>(bytes)});
    }
    kept_ = std::move(made);
}

void Session::run(const Lease& lease, Given* inputs, void** outputs) {
    prepare(lease->plan());
    const std::vector<State>& states = engine_.program().states;
    for (size_t i = 0; i < states.size(); i++) {
        inputs[states[i].input] = {kept_[i].now.data()};
        outputs[states[i].output] = kept_[i].next.data();
    }
    engine_.run(lease, inputs, outputs);
    for (Kept& kept : kept_) std::swap(kept.now, kept.next);
}

void Session::complete(Sizes& sizes) const {
    const Program& program = engine_.program();
    for (size_t i = 0; i < kept_.size(); i++) {
        const ValueType& type = program.values[program.inputs[program.states[i].input].value];
        for (size_t d = 0; d < kept_[i].shape.size(); d++)
            if (const int64_t named = type.shape[d].named(); named >= 0 && sizes[static_cast<size_t>(named)] == 0)
                sizes[static_cast<size_t>(named)] = kept_[i].shape[d];
    }
}

}  // namespace sparbor
