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

// A dense convolution's row-major weights as floats or as halves, the other null; scale and bias as in SparseArrays.
struct FilterArrays {
    const float* weights;
    const uint16_t* halves;
    const float* scale;
    const float* bias;
};

// A sparse layer as kernels want it.
class SparseMatrix {
public:
    SparseMatrix(const SparseArrays& arrays, size_t outputs, bool relu);
    SparseMatrix(const SparseMatrix&) = delete;
    SparseMatrix& operator=(const SparseMatrix&) = delete;

    const SparseLayer& layer() const { return layer_; }
    size_t groups() const { return groups_.size(); }
    size_t slots() const { return slots_; }
    // For the slots of as many groups as take turns on a chunk.
    size_t decoded_floats() const { return most_slots_ * (sizeof(Synapses) / sizeof(float)); }

private:
    std::vector<Group> groups_;
    std::vector<Run> runs_;
    std::vector<float> scale_, bias_;  // padded to whole groups
    SparseLayer layer_;
    size_t slots_, most_slots_;
};

class SparseLinear final : public Step {
public:
    SparseLinear(Value x, Value y, const SparseArrays& arrays, bool relu, std::optional<Activation> activation);
    void run(const Call& call) const override;
    size_t scratch_floats(const KernelSet& kernels, size_t batch) const override;

private:
    void run_columns(const Call& call, const Rows& rows) const;
    size_t own_floats(size_t columns) const;

    Value x_, y_;
    SparseMatrix matrix_;
    std::optional<Activation> activation_;
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
    Add(Value left, Value right, Value sum, bool relu, std::optional<Activation> activation);
    void run(const Call& call) const override;

private:
    Value left_, right_, sum_;
    float floor_;
    std::optional<Activation> activation_;
};

class ScaleShift final : public Step {
public:
    ScaleShift(Value x, Value y, const float* scale, const float* shift) : x_(x), y_(y), scale_(scale), shift_(shift) {}
    void run(const Call& call) const override;

private:
    Value x_, y_;
    const float *scale_, *shift_;
};

// One scale and shift a row; rows repeat with the items.
class RowScaleShift final : public Step {
public:
    RowScaleShift(Value x, Value y, const float* scale, const float* shift)
        : x_(x), y_(y), scale_(scale), shift_(shift) {}
    void run(const Call& call) const override;

private:
    Value x_, y_;
    const float *scale_, *shift_;
};

class LayerNorm final : public Step {
public:
    // Scale and shift may be null.
    LayerNorm(Value x, Value y, const float* scale, const float* shift, float epsilon)
        : x_(x), y_(y), scale_(scale), shift_(shift), epsilon_(epsilon) {}
    void run(const Call& call) const override;

private:
    Value x_, y_;
    const float *scale_, *shift_;
    float epsilon_;
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

// Along the items' rows, or along the features of items of one row.
class Concatenate final : public Step {
public:
    Concatenate(std::vector<Value> parts, Value y) : parts_(std::move(parts)), y_(y) {}
    void run(const Call& call) const override;

private:
    std::vector<Value> parts_;
    Value y_;
};

// Windows over each plane.
class WindowPool final : public Step {
public:
    enum class Kind { max, average, adaptive_max, adaptive_average };
    WindowPool(Value x, Value y, const Geometry& geometry, Kind kind, bool count_padding = false, float divisor = 0)
        : x_(x), y_(y), geometry_(geometry), kind_(kind), count_padding_(count_padding), divisor_(divisor) {}
    void run(const Call& call) const override;

private:
    void run_plane(const Pools& pools, const float* plane, float* y) const;

    Value x_, y_;
    Geometry geometry_;
    Kind kind_;
    bool count_padding_;
    float divisor_;
};

// Numbers padded to a multiple.
std::vector<float> whole(const float* values, size_t count, size_t multiple, float filler);
float floor_of(bool relu);
// How many branches make a chunk of a panel, of whose inputs each has so many floats for a block of columns.
uint32_t chunk_shift(size_t input_floats, size_t inputs);

}  // namespace sparbor
