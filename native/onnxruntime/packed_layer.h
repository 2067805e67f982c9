// What a node of an ONNX graph computes with: a layer that was packed, which is a model file of one input and one output.
#pragma once

#include <functional>
#include <vector>

#include "plan/engine.h"

namespace sparbor {

class PackedLayer {
public:
    using Dimensions = std::vector<int64_t>;
    // Where the output is to go, given its shape.
    using Place = std::function<float*(const Dimensions&)>;

    // What it computes of: rows over any dimensions, as MatMul, or items with channels, as Conv.
    enum class Over { rows, items };

    // The bytes are copied. Throws Refused if they are no model file, or one of another kind of layer.
    PackedLayer(const uint8_t* bytes, size_t size, Over over, size_t threads);

    // `workers` are no more than the threads that it was made for. Throws Refused if the layer takes no such shape, and
    // std::bad_alloc.
    void run(const Dimensions& shape, const float* x, const Place& place, Workers* workers);

private:
    void check_ports() const;
    Sizes sizes_of(const Dimensions& x) const;
    Dimensions output_of(const Dimensions& x, const Sizes& sizes) const;
    [[noreturn]] void refuse(const Dimensions& x) const;
    const ValueType& input() const { return program_.values[program_.inputs[0].value]; }
    const ValueType& output() const { return program_.values[program_.outputs[0].value]; }

    const Over over_;
    const Program program_;
    Engine engine_;  // points into the program
};

}  // namespace sparbor
