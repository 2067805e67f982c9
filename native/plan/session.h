// What a model remembers from one call to the next: outputs that are inputs then.
#pragma once

#include "plan/engine.h"

namespace sparbor {

// States lie at the beginning of a workspace that the session has for itself, and calls compute there: nothing is
// copied of a state that is renewed where it lies, such as a cache of which a call replaces some rows.
class Session {
public:
    // States are zeros before the first call.
    explicit Session(Engine& engine) : engine_(engine) {}
    ~Session() { reset(); }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // What the next call follows. Throws as `Engine::prepare`, and Refused if the states are of other sizes, or if
    // there are none that could be gone on with. The states stay as they are.
    const Plan& prepare(const Sizes& sizes);
    // The call that was prepared, as `Engine::run`; states have no place among its inputs and outputs. If it throws,
    // the states are what they were, or `prepare` refuses further calls because some have been overwritten.
    void run(const Given* inputs, void* const* outputs);
    void reset();

    Engine& engine() const { return engine_; }
    // Puts in sizes that are 0 what the states say of them.
    void complete(Sizes& sizes) const;

private:
    const ValueType& type_of(size_t state) const;
    void check(const Sizes& sizes) const;
    void keep(const Plan& plan) const;

    Engine& engine_;
    std::unique_ptr<Workspace> workspace_;
    std::vector<Shape> shapes_;  // by state; none before a call has been made
    size_t state_bytes_ = 0;     // likewise
    bool overwritten_ = false;   // by a call that was refused afterwards
};

}  // namespace sparbor
