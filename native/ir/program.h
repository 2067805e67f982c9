// A program: operations in order over numbered values, and the layers that they compute with.
#pragma once

#include <map>
#include <optional>

#include "ir/dimension.h"
#include "ir/layer.h"
#include "ir/quantization.h"
#include "ir/settings.h"
#include "ir/source.h"

namespace sparbor {

struct OperatorType;  // what the engine knows of all operations of a kind: ir/operator.h

struct NamedActivation {
    std::string name;
    std::array<float, 2> parameters{};
};

struct Operation {
    const OperatorType* type;
    std::vector<uint64_t> inputs;
    uint64_t output;
    std::optional<std::string> layer_name;
    const Layer* layer;  // null if it has none, and until the layers have been read
    std::optional<NamedActivation> activation;
    Settings settings;
};

struct ValueType {
    Number type;
    std::vector<Dimension> shape;
    std::optional<Quantization> quantization = std::nullopt;  // which bytes may have
};

// A value that is given or returned, by its name.
struct Port {
    std::string name;
    uint64_t value;
};

// What a session keeps between two calls: an output of the one, which is an input of the next. Places in those lists.
struct State {
    size_t input, output;
};

struct Program {
    Program() = default;
    Program(Program&&) = default;  // operations point to layers, which stay where they are
    Program& operator=(Program&&) = default;
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    std::string graph;  // the JSON that it was read from, as today's version writes it
    SizeNames size_names;
    Sizes known_sizes{0, 1};  // with which it can run: it is checked and measured at those
    std::vector<ValueType> values;
    std::vector<Port> inputs, outputs;
    std::vector<State> states;
    std::vector<Operation> operations;
    std::map<std::string, Layer> layers;
    std::vector<float> byte_scale, byte_shift;  // byte · scale + shift; empty if bytes are not taken

    // The shapes of all values for these sizes. Throws Refused.
    std::vector<Shape> shapes_at(const Sizes& sizes) const;
    std::string text_of_shape(uint64_t value) const;  // "(batch, 3, 32, 32)"

    uint64_t weight_bytes() const {
        uint64_t sum = 0;
        for (const auto& [name, layer] : layers) sum += layer.bytes();
        return sum;
    }
    // What its shapes may ask for at a time: they cost a file nothing, so it is tied to the weights.
    uint64_t allowed_bytes() const { return (uint64_t{1} << 28) + 64 * weight_bytes(); }
};

// Reads a model file; everything it says is checked before it is believed, for sizes of 1. Throws Refused.
Program read_program(const Source& source);
Program read_program(const uint8_t* data, size_t size);

// All of a graph but its layers, each operation's kind, settings and order checked. Throws Refused.
Program program_of_graph(const Json& graph);

// Throws Refused unless the operations' types, shapes, settings and layers fit each other at these shapes.
void check_operations(const Program& program, const std::vector<Shape>& shapes);

// What the graph says of a layer, whose tensors are still to come; and whether its tensors are those of its encoding.
// Both throw Refused.
Layer read_layer(const std::string& name, const Json& entry);
void check_layer(Layer& layer);

// The graph of a file of an earlier version as one of today's.
Json from_older_version(Json graph);

}  // namespace sparbor
