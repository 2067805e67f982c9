// What a model remembers from one call to the next: outputs that are inputs then.
#pragma once

#include "plan/engine.h"

namespace sparbor {

class Session {
public:
    // States are zeros before the first call.
    explicit Session(Engine& engine) : engine_(engine) {}
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Places for the states among a call's inputs and outputs, which are those of `Engine::run`, then runs it. Throws
    // Refused if the states have another shape than the call needs.
    void run(const Lease& lease, Given* inputs, void** outputs);
    void reset() { kept_.clear(); }

    Engine& engine() const { return engine_; }
    // Puts in sizes that are 0 what the states say of them.
    void complete(Sizes& sizes) const;

private:
    struct Kept {
        Shape shape;
        AlignedArray<char> now, next;
    };
    void prepare(const Plan& plan);

    Engine& engine_;
    std::vector<Kept> kept_;  // by state; none before the first call
};

}  // namespace sparbor
