// A program's graph, from JSON.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ir/numbers.h"
#include "ir/operator.h"

namespace sparbor {
namespace {

constexpr uint64_t largest_value = 1 << 26;  // numbers of one value of one item
constexpr size_t most_dimensions = 8;

Shape read_shape(size_t number, const Json& entry) {
    const auto refuse = [&] {
        throw Refused("value " + std::to_string(number) + " has the shape " + shown(entry) + ", which no model can have");
    };
    if (!entry.is_array() || entry.size() > most_dimensions) refuse();
    for (const Json& each : entry)
        if (!is_count(each)) refuse();
    Shape shape = entry.get<Shape>();
    const auto size = product(shape, largest_value);
    if (!size || *size == 0) refuse();
    return shape;
}

float read_parameter(const Json& value, const Json& activation) {
    if (value == "Infinity") return std::numeric_limits<float>::infinity();
    if (value == "-Infinity") return -std::numeric_limits<float>::infinity();
    require(value.is_number(), "the activation " + shown(activation) + " has a parameter that is not a number");
    return as_float(value.get<double>());
}

NamedActivation read_activation(const Json& entry) {
    require(entry.is_array() && !entry.empty() && entry[0].is_string(), "the activation is " + shown(entry) + ", not a name and its parameters");
    NamedActivation activation{entry[0].get<std::string>()};
    const size_t count = entry.size() - 1;
    const auto found = activation_parameters().find(activation.name);
    require_known(found != activation_parameters().end() && count == found->second,
                  "activation " + in_quotes(activation.name) + " of " + std::to_string(count) + " parameters");
    for (size_t i = 0; i < count; i++) activation.parameters[i] = read_parameter(entry[i + 1], entry);
    return activation;
}

bool allows(Has has, bool there) { return has == Has::maybe || (has == Has::yes) == there; }

const OperatorType& read_type(const Json& entry) {
    const Json &name = entry.at("kind"), &inputs = entry.at("inputs");
    const OperatorType* type = name.is_string() ? find_operator(name.get<std::string>()) : nullptr;
    require(inputs.is_array(), "the operation " + shown(name) + " has the inputs " + shown(inputs) + ", not a list");
    require_known(type && (type->inputs == 0 ? !inputs.empty() : inputs.size() == type->inputs),
                  "operation " + shown(name) + " of " + std::to_string(inputs.size()) + " inputs");
    return *type;
}

Operation read_operation(const Json& entry) {
    const OperatorType& type = read_type(entry);
    const std::string what = "operation " + in_quotes(type.name);
    Operation operation{};
    operation.type = &type;
    for (const Json& input : entry.at("inputs")) {
        require(is_count(input), what + " uses value " + shown(input) + ", which is no number of a value");
        operation.inputs.push_back(as_count(input));
    }
    const Json& output = entry.at("output");
    require(is_count(output), what + " computes value " + shown(output) + ", which it cannot");
    operation.output = as_count(output);
    const Json *layer = member(entry, "layer"), *activation = member(entry, "activation");
    require(allows(type.layer, layer) && (!layer || layer->is_string()), what + " has the layer " + shown(layer));
    if (layer) operation.layer_name = layer->get<std::string>();
    require(allows(type.activation, activation), what + " has the activation " + shown(activation));
    if (activation) operation.activation = read_activation(*activation);
    operation.settings = Settings(type.settings, member(entry, "settings"), what);
    return operation;
}

uint64_t read_value(const Json& value, const char* what, size_t count) {
    require(is_count(value) && as_count(value) < count,
            std::string("the ") + what + " is value " + shown(value) + " of " + std::to_string(count));
    return as_count(value);
}

// Every value is computed once, before it is used.
void check_order(const Program& program) {
    const size_t count = program.shapes.size();
    std::vector<bool> known(count);
    known[program.input] = true;
    size_t computed = 1;
    for (const Operation& operation : program.operations) {
        const std::string what = "operation " + in_quotes(operation.type->name);
        for (const uint64_t used : operation.inputs)
            require(used < count && known[used], what + " uses value " + std::to_string(used) + " too early");
        const uint64_t made = operation.output;
        require(made < count && !known[made], what + " computes value " + std::to_string(made) + ", which it cannot");
        known[made] = true;
        computed++;
    }
    require(known[program.output], "the output, value " + std::to_string(program.output) + ", is never computed");
    require(computed == count,
            "only " + std::to_string(computed) + " of " + std::to_string(count) + " values are computed");
}

std::vector<double> read_channels(const Json& byte_input, const char* name) {
    const Json* entry = member(byte_input, name);
    require(entry && entry->is_array() && !entry->empty() &&
                std::all_of(entry->begin(), entry->end(), [](const Json& each) { return each.is_number(); }),
            "byte_input is " + shown(byte_input));
    std::vector<double> numbers = entry->get<std::vector<double>>();
    require(std::all_of(numbers.begin(), numbers.end(), [](double each) { return std::abs(each) < 1e30; }),
            "byte_input cannot be: its " + std::string(name) + " is " + shown(*entry) + ", and must be finite numbers");
    return numbers;
}

void read_byte_input(const Json& entry, Program& program) {
    require(entry.is_object() && entry.size() == 2, "byte_input is " + shown(entry));
    const std::vector<double> mean = read_channels(entry, "mean"), deviation = read_channels(entry, "std");
    require(mean.size() == deviation.size(), "byte_input is " + shown(entry));
    const Shape& shape = program.shapes[program.input];
    require(mean.size() == 1 || (shape.size() > 1 && shape[0] == mean.size()),
            "byte_input has " + std::to_string(mean.size()) + " channels, the input shape " + to_text(shape));
    for (size_t i = 0; i < mean.size(); i++) {
        require(deviation[i] > 0, "byte_input cannot be: each std must be positive");
        program.byte_scale.push_back(as_float(1 / (255 * deviation[i])));
        program.byte_shift.push_back(as_float(-mean[i] / deviation[i]));
    }
}

}  // namespace

Program program_of_graph(const Json& graph) {
    Program program;
    const Json &values = graph.at("values"), &operations = graph.at("operations");
    require(values.is_array() && operations.is_array(), "the graph is malformed: its values or operations are no list");
    for (const Json& shape : values) program.shapes.push_back(read_shape(program.shapes.size(), shape));
    program.input = read_value(graph.at("input"), "input", values.size());
    program.output = read_value(graph.at("output"), "output", values.size());
    for (const Json& entry : operations) program.operations.push_back(read_operation(entry));
    check_order(program);
    if (const Json* byte_input = member(graph, "byte_input")) read_byte_input(*byte_input, program);
    return program;
}

}  // namespace sparbor
