// Two values to one, number by number. A dimension of 1 is as if repeated, as NumPy and PyTorch have it.
#pragma once

#include <array>
#include <limits>
#include <vector>

#include "ops/outputs.h"

namespace sparbor {

// Refuses a node whose inputs' shapes, which have as many dimensions as the output's, do not broadcast to that.
void check_broadcast(const Node& node);

// The output and its two operands as runs: stretches in which each operand has its numbers one after another, or one
// number for all.
class BroadcastRuns {
public:
    BroadcastRuns(const Value& left, const Value& right, const Value& y);

    struct Offsets {
        size_t y, left, right;  // in floats
    };
    size_t count() const { return count_; }
    size_t length() const { return length_; }
    bool left_is_one() const { return length_ > 1 && !left_moves_; }
    bool right_is_one() const { return length_ > 1 && !right_moves_; }
    Offsets run(size_t number) const;

private:
    struct Around {
        size_t size, y, left, right;  // steps in floats
    };
    void add(const Around& dimension);

    std::vector<Around> around_;  // from the innermost
    size_t count_ = 1, length_ = 1;
    bool left_moves_ = true, right_moves_ = true;
};

// Many numbers and one: with_one(kernels, x, number, y, count).
using WithOne = void (*)(const Elementwise&, const float* x, float number, float* y, size_t count);

// `kernel` computes runs in which both operands have as many numbers; `with_one` those in which one of them
// has a single one, so the operator has to be commutative.
class BroadcastStep final : public Step {
public:
    BroadcastStep(const Value& left, const Value& right, const Value& y, PairKernel kernel, WithOne with_one,
                  Ending ending, Activation relu);
    void run(const Call& call) const override;

private:
    void run_once(const Elementwise& kernels, const float* left, const float* right, float* y) const;

    size_t left_, right_, y_;  // in floats
    BroadcastRuns runs_;
    PairKernel kernel_;
    WithOne with_one_;
    Ending ending_;
    Activation relu_;
};

}  // namespace sparbor
