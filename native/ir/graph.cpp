// A program's graph, from JSON.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "ir/json.h"
#include "ir/number.h"
#include "ir/operator.h"

namespace sparbor {
namespace {

// Bytes may have a step and a zero.
std::optional<Quantization> read_quantization(const Json& entry, Number type, size_t dimensions) {
    const Json *step = member(entry, "step"), *zero = member(entry, "zero");
    if (!step && !zero) return std::nullopt;
    require(step && zero, "a value has the step " + shown(step) + " and the zero " + shown(zero) + ", not both or none");
    require(type == Number::u8 && dimensions >= 2 && dimensions <= 4,
            std::string("a value of type ") + to_text(type) + " and of " + std::to_string(dimensions) +
                " dimensions has a step, not one of type u8 and 2 to 4 dimensions");
    const float size = step->is_number() ? as_float(step->get<double>()) : 0;
    require(std::isnormal(size) && size > 0, "a value has the step " + shown(step) + ", not a positive normal number");
    require(is_count(*zero) && as_count(*zero) <= 255, "a value has the zero " + shown(zero) + ", not 0 to 255");
    return Quantization{size, static_cast<int32_t>(as_count(*zero))};
}

// Of an input, which may name new sizes, or of a value that is computed.
ValueType read_value_type(const Json& entry, bool is_input, SizeNames& names) {
    require(entry.is_object(), "a value is " + shown(entry) + ", not a type and a shape");
    const Json &type = entry.at("type"), &shape = entry.at("shape");
    const auto found = find_number(type.is_string() ? type.get<std::string>() : "");
    const Number number = found.value_or(Number::u16);  // which tensors have, and values have not
    require_known(number != Number::u16, "value of type " + shown(type));
    require(shape.is_array() && shape.size() <= most_dimensions,
            "a value has the shape " + shown(shape) + ", which no model can have");
    ValueType value{number, {}, read_quantization(entry, number, shape.size())};
    for (const Json& each : shape) value.shape.emplace_back(each, names, is_input);
    return value;
}

float read_parameter(const Json& value, const Json& activation) {
    if (value == "Infinity") return std::numeric_limits<float>::infinity();
    if (value == "-Infinity") return -std::numeric_limits<float>::infinity();
    require(value.is_number(), "the activation " + shown(activation) + " has a parameter that is not a number");
    return as_float(value.get<double>());
}

NamedActivation read_activation(const Json& entry) {
    require(entry.is_array() && !entry.empty() && entry[0].is_string(),
            "the activation is " + shown(entry) + ", not a name and its parameters");
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
    require_known(type && type->inputs.allow(inputs.size()),
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

// The inputs or the outputs, each with a name of its own.
std::vector<Port> read_ports(const Json& entries, const char* what, size_t values) {
    constexpr size_t longest = 100;
    require(entries.is_array() && !entries.empty(),
            "the " + std::string(what) + "s are " + shown(entries) + ", not a list");
    std::vector<Port> ports;
    std::set<std::string> names;
    for (const Json& entry : entries) {
        require(entry.is_object() && entry.size() == 2, std::string("an ") + what + " is " + shown(entry));
        const Json &name = entry.at("name"), &value = entry.at("value");
        require(name.is_string() && !name.get_ref<const std::string&>().empty() &&
                    name.get_ref<const std::string&>().size() <= longest,
                std::string("an ") + what + " has the name " + shown(name));
        ports.push_back({name.get<std::string>(), 0});
        const std::string quoted = in_quotes(ports.back().name);
        require(names.insert(ports.back().name).second, std::string("two ") + what + "s have the name " + quoted);
        require(is_count(value) && as_count(value) < values, std::string("the ") + what + " " + quoted + " is value " +
                                                                 shown(value) + " of " + std::to_string(values));
        ports.back().value = as_count(value);
    }
    return ports;
}

size_t find_port(const std::vector<Port>& ports, const Json& name, const char* what) {
    for (size_t i = 0; i < ports.size(); i++)
        if (name == ports[i].name) return i;
    throw Refused("a state has the " + std::string(what) + " " + shown(name) + ", which there is not");
}

// Pairs of an input and an output of one type and shape, each named once.
void read_states(const Json& entries, Program& program) {
    require(entries.is_array(), "the states are " + shown(entries) + ", not a list");
    std::set<size_t> inputs, outputs;
    for (const Json& entry : entries) {
        require(entry.is_array() && entry.size() == 2, "a state is " + shown(entry) + ", not an input and an output");
        const State state{find_port(program.inputs, entry[0], "input"), find_port(program.outputs, entry[1], "output")};
        const uint64_t from = program.outputs[state.output].value, to = program.inputs[state.input].value;
        require(inputs.insert(state.input).second && outputs.insert(state.output).second,
                "the state " + shown(entry) + " has an input or an output of another one");
        require(program.values[from].type == program.values[to].type &&
                    program.text_of_shape(from) == program.text_of_shape(to),
                "the state " + shown(entry) + " goes from shape " + program.text_of_shape(from) + " to " +
                    program.text_of_shape(to) + ", or to another type");
        program.states.push_back(state);
    }
    require(program.states.size() < std::min(program.inputs.size(), program.outputs.size()),
            "all inputs or all outputs are states: nothing is left to be given or to be returned");
}

// Every value is given or computed once, before it is used.
void check_order(const Program& program) {
    const size_t count = program.values.size();
    std::vector<bool> known(count);
    size_t computed = program.inputs.size();
    for (const Port& input : program.inputs) {
        require(!known[input.value], "two inputs are value " + std::to_string(input.value));
        known[input.value] = true;
    }
    for (const Operation& operation : program.operations) {
        const std::string what = "operation " + in_quotes(operation.type->name);
        for (const uint64_t used : operation.inputs)
            require(used < count && known[used], what + " uses value " + std::to_string(used) + " too early");
        const uint64_t made = operation.output;
        require(made < count && !known[made], what + " computes value " + std::to_string(made) + ", which it cannot");
        known[made] = true;
        computed++;
    }
    for (const Port& output : program.outputs)
        require(known[output.value], "the output, value " + std::to_string(output.value) + ", is never computed");
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
    const ValueType& input = program.values[program.inputs[0].value];
    require(program.inputs.size() == 1 && input.type == Number::f32, "byte_input is there, and not one f32 input");
    require(mean.size() == 1 ||
                (input.shape.size() > 2 && input.shape[1].is_number() && input.shape[1].at({0, 0}) == mean.size()),
            "byte_input has " + std::to_string(mean.size()) + " channels, the input shape " +
                program.text_of_shape(program.inputs[0].value));
    for (size_t i = 0; i < mean.size(); i++) {
        require(deviation[i] > 0, "byte_input cannot be: each std must be positive");
        program.byte_scale.push_back(as_float(1 / (255 * deviation[i])));
        program.byte_shift.push_back(as_float(-mean[i] / deviation[i]));
    }
}

// Inputs first, since they are what names sizes.
void read_values(const Json& entries, Program& program) {
    std::vector<std::optional<ValueType>> values(entries.size());
    for (const Port& input : program.inputs)
        values[input.value] = read_value_type(entries[input.value], true, program.size_names);
    for (size_t i = 0; i < values.size(); i++) {
        if (!values[i]) values[i] = read_value_type(entries[i], false, program.size_names);
        program.values.push_back(std::move(*values[i]));
    }
}

// Of those that it does not name, 1.
void read_known_sizes(const Json* entries, Program& program) {
    program.known_sizes = Sizes(program.size_names.size(), 1);
    if (!entries) return;
    require(entries->is_object(), "its sizes are " + shown(*entries) + ", not a number for each name");
    for (const auto& [name, number] : entries->items()) {
        const auto found = std::find(program.size_names.begin(), program.size_names.end(), name);
        require(found != program.size_names.end() && is_count(number) && as_count(number) >= 1,
                "its size " + in_quotes(name) + " is " + shown(number) + ", or no input has it");
        program.known_sizes[static_cast<size_t>(found - program.size_names.begin())] = as_count(number);
    }
}

// What comes in and goes out, and with that what a session keeps.
void check_ports(const std::vector<Port>& ports, const Program& program) {
    for (const Port& port : ports)
        require_known(!program.values[port.value].quantization,
                      "quantized inputs and outputs, as " + in_quotes(port.name) + " is: they are f32, in a model");
}

void check_types(const Node& node, const OperatorType& type) {
    switch (type.takes) {
        case Takes::quantized: return;
        case Takes::any:
            for (size_t i = 0; i < node.inputs(); i++)
                node.require(!node.x_quantization(i), "its inputs are quantized, and it takes numbers as they are");
            return node.require(!node.y_quantization(), "its output is quantized, which it does not compute");
        case Takes::floats:
            for (size_t i = 0; i < node.inputs(); i++)
                node.require(node.x_type(i) == Number::f32, "its inputs are not all f32");
            return node.require(node.y_type() == Number::f32, "its output is not f32");
    }
}

}  // namespace

Program program_of_graph(const Json& graph) {
    Program program;
    const Json &values = graph.at("values"), &operations = graph.at("operations");
    require(values.is_array() && operations.is_array(), "the graph is malformed: its values or operations are no list");
    program.inputs = read_ports(graph.at("inputs"), "input", values.size());
    program.outputs = read_ports(graph.at("outputs"), "output", values.size());
    read_values(values, program);
    check_ports(program.inputs, program);
    check_ports(program.outputs, program);
    read_known_sizes(member(graph, "sizes"), program);
    if (const Json* states = member(graph, "states")) read_states(*states, program);
    for (const Json& entry : operations) program.operations.push_back(read_operation(entry));
    check_order(program);
    if (const Json* byte_input = member(graph, "byte_input")) read_byte_input(*byte_input, program);
    return program;
}

std::vector<Shape> Program::shapes_at(const Sizes& sizes) const {
    std::vector<Shape> shapes;
    for (const ValueType& value : values) {
        Shape& shape = shapes.emplace_back();
        for (const Dimension& each : value.shape) shape.push_back(each.at(sizes));
        if (!product(shape, largest_value))
            throw Refused("a value has the shape " + to_text(shape) + ", which no machine can hold");
    }
    return shapes;
}

std::string Program::text_of_shape(uint64_t value) const {
    std::string text = "(";
    for (const Dimension& each : values[value].shape) text += (text.size() > 1 ? ", " : "") + each.text(size_names);
    return text + (values[value].shape.size() == 1 ? ",)" : ")");
}

void check_operations(const Program& program, const std::vector<Shape>& shapes) {
    for (const Operation& operation : program.operations) {
        const Node node(operation, program, shapes);
        check_types(node, *operation.type);
        operation.type->check(node);
    }
}

}  // namespace sparbor
