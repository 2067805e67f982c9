// Floats of two values to one, number by number. A dimension of 1 is as if repeated, as NumPy and PyTorch have it.
#pragma once

#include "ops/loops.h"
#include "ops/outputs.h"

namespace sparbor {

// Refuses a node whose inputs' shapes, which have as many dimensions as the output's, do not broadcast to that.
void check_broadcast(const Node& node);

class BroadcastStep final : public Step {
public:
    BroadcastStep(const std::vector<Value>& x, const Value& y, const NamedPair& kernels, const Ending& ending);
    void run(const Call& call) const override;

private:
    void run_part(const float* left, const float* right, float* y, size_t count) const;

    size_t left_, right_, y_;  // in floats
    Loops loops_;
    const NamedPair& kernels_;
    Ending ending_;
};

}  // namespace sparbor
