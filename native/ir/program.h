// A program: operations in order over numbered values, and the layers that they compute with.
#pragma once

#include <map>
#include <optional>

#include "ir/layer.h"
#include "ir/settings.h"

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

struct Program {
    Program() = default;
    Program(Program&&) = default;  // operations point to layers, which stay where they are
    Program& operator=(Program&&) = default;
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    std::string graph;  // the JSON that it was read from, as today's version writes it
    std::vector<Shape> shapes;
    uint64_t input, output;
    std::vector<Operation> operations;
    std::map<std::string, Layer> layers;
    std::vector<float> byte_scale, byte_shift;  // byte · scale + shift; empty if bytes are not taken

    uint64_t weight_bytes() const {
        uint64_t sum = 0;
        for (const auto& [name, layer] : layers) sum += layer.bytes();
        return sum;
    }
    // What its shapes may ask for at a time: they cost a file nothing, so it is tied to the weights.
    uint64_t allowed_bytes() const { return (uint64_t{1} << 28) + 64 * weight_bytes(); }
};

// Reads a model file; everything it says is checked before it is believed. Throws Refused.
Program read_program(const uint8_t* data, size_t size);

// All of a graph but its layers, each operation's kind, settings and order checked. Throws Refused.
Program program_of_graph(const Json& graph);

// What the graph says of a layer, whose tensors are still to come; and whether its tensors are those of its encoding.
// Both throw Refused.
Layer read_layer(const std::string& name, const Json& entry);
void check_layer(Layer& layer);

// The graph of a file of version 1 as one of version 2. It has been a program's.
Json from_version_1(Json graph);

}  // namespace sparbor
