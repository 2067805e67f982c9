#include "plan/session.h"

#include <cstring>

namespace sparbor {

const ValueType& Session::type_of(size_t state) const {
    const Program& program = engine_.program();
    return program.values[program.inputs[program.states[state].input].value];
}

void Session::check(const Sizes& sizes) const {
    if (overwritten_)
        throw Refused("a call that was refused has overwritten some of the session's states", "reset the session");
    const Program& program = engine_.program();
    for (size_t i = 0; i < shapes_.size(); i++) {
        Shape needed;
        for (const Dimension& each : type_of(i).shape) needed.push_back(each.at(sizes));
        if (shapes_[i] == needed) continue;
        throw Refused("the session's " + in_quotes(program.inputs[program.states[i].input].name) + " has shape " +
                          to_text(shapes_[i]) + ", and this call needs " + to_text(needed),
                      "reset the session, or go on with as many items");
    }
}

const Plan& Session::prepare(const Sizes& sizes) {
    check(sizes);
    if (!workspace_) workspace_ = engine_.workspaces().take_any();
    engine_.workspaces().prepare(*workspace_, sizes, state_bytes_);
    return workspace_->plan();
}

void Session::run(const Given* inputs, void* const* outputs) {
    const Plan& plan = workspace_->plan();
    const bool is_first = shapes_.empty();
    if (is_first) std::memset(workspace_->memory(), 0, plan.state_bytes);
    size_t steps = 0;
    try {
        engine_.run(*workspace_, inputs, outputs, steps);
    } catch (...) {
        overwritten_ = !is_first && steps > plan.first_overwriting;  // before the first call there are but zeros
        throw;
    }
    keep(plan);
    if (!is_first) return;
    state_bytes_ = plan.state_bytes;
    for (const StateCopy& state : plan.states) shapes_.push_back(state.now.shape);
}

void Session::keep(const Plan& plan) const {
    char* const memory = workspace_->memory();
    for (const StateCopy& state : plan.states)
        if (!state.stays)
            state.copy.run(engine_.kernels(), memory + state.next.offset, memory + state.now.offset);
}

void Session::reset() {
    if (workspace_) engine_.workspaces().give_back(std::move(workspace_));
    shapes_.clear();
    state_bytes_ = 0;
    overwritten_ = false;
}

void Session::complete(Sizes& sizes) const {
    for (size_t i = 0; i < shapes_.size(); i++)
        for (size_t d = 0; d < shapes_[i].size(); d++)
            if (const int64_t named = type_of(i).shape[d].named();
                named >= 0 && sizes[static_cast<size_t>(named)] == 0)
                sizes[static_cast<size_t>(named)] = shapes_[i][d];
}

}  // namespace sparbor
