// The operations of a program.
#pragma once

#include <optional>

#include "engine.h"

namespace sparbor {

// What a sparse layer points to, checked before it gets here; the arrays belong to someone who outlives the step.
struct SparseArrays {
    std::vector<uint32_t> runs_per_group;
    const uint16_t* run_slots;
    const uint16_t* run_branches;
    const uint16_t* branches;
    const uint16_t* words;
    const float* weights;
    const uint8_t* indices;
    const float* scale;  // one an output, or null for ones
    const float* bias;   // one an output, or null for zeros
    bool padded;
};

class SparseLinear final : public Step {
public:
    SparseLinear(Value x, Value y, const SparseArrays& arrays, bool relu, std::optional<Activation> activation);
    void run(const Call& call) const override;
    size_t scratch_floats(const KernelSet& kernels) const override;

private:
    void run_columns(const Call& call, Rows rows) const;

    Value x_, y_;
    std::vector<Group> groups_;
    std::vector<Run> runs_;
    std::vector<float> scale_, bias_;  // padded to whole groups
    std::optional<Activation> activation_;
    SparseLayer layer_;
    double work_;  // nanoseconds for one row, roughly
};

class DenseLinear final : public Step {
public:
    // Weights as floats or as halves, the other null; scale and bias as in SparseArrays.
    DenseLinear(Value x, Value y, const float* panels, const uint16_t* halves, const float* scale, const float* bias,
                bool relu, std::optional<Activation> activation);
    void run(const Call& call) const override;

private:
    Value x_, y_;
    std::vector<float> scale_, bias_;
    std::optional<Activation> activation_;
    DenseLayer layer_;
    double work_;
};

class Apply final : public Step {
public:
    Apply(Value x, Value y, Activation activation) : x_(x), y_(y), activation_(activation) {}
    void run(const Call& call) const override;

private:
    Value x_, y_;
    Activation activation_;
};

class Add final : public Step {
public:
    Add(Value left, Value right, Value sum) : left_(left), right_(right), sum_(sum) {}
    void run(const Call& call) const override;

private:
    Value left_, right_, sum_;
};

class ScaleShift final : public Step {
public:
    ScaleShift(Value x, Value y, const float* scale, const float* shift) : x_(x), y_(y), scale_(scale), shift_(shift) {}
    void run(const Call& call) const override;

private:
    Value x_, y_;
    const float *scale_, *shift_;
};

class Softmax final : public Step {
public:
    Softmax(Value x, Value y) : x_(x), y_(y) {}
    void run(const Call& call) const override;

private:
    Value x_, y_;
};

// The same numbers in rows of another length.
class Reshape final : public Step {
public:
    Reshape(Value x, Value y) : x_(x), y_(y) {}
    void run(const Call& call) const override;

private:
    Value x_, y_;
};

}  // namespace sparbor
