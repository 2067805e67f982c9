// A program's graph from JSON: graph_json.py in C++.
#include <cmath>
#include <limits>
#include <set>

#include "json.h"

namespace sparbor::model {
namespace {

constexpr uint64_t largest_value = 1 << 26;  // numbers of one value of one item
constexpr size_t most_dimensions = 8;

enum class Settings { none, window, average_window, normalisation };

struct Kind {
    const char* name;
    size_t inputs;  // 0: any number from 1
    bool has_layer, may_lack_layer, takes_activation;
    Settings settings;
};

const Kind kinds[] = {  // in the order of Op
    {"linear", 1, true, false, true, Settings::none},
    {"convolution", 1, true, false, true, Settings::window},
    {"affine", 1, true, false, false, Settings::none},
    {"channel_affine", 1, true, false, false, Settings::none},
    {"layer_norm", 1, true, true, false, Settings::normalisation},
    {"activation", 1, false, false, true, Settings::none},
    {"softmax", 1, false, false, false, Settings::none},
    {"reshape", 1, false, false, false, Settings::none},
    {"add", 2, false, false, true, Settings::none},
    {"concat", 0, false, false, false, Settings::none},
    {"max_pool", 1, false, false, false, Settings::window},
    {"average_pool", 1, false, false, false, Settings::average_window},
    {"adaptive_max_pool", 1, false, false, false, Settings::none},
    {"adaptive_average_pool", 1, false, false, false, Settings::none},
};

const std::map<std::string, size_t> activations = {  // and how many parameters each has
    {"relu", 0}, {"clamp", 2}, {"leaky_relu", 1}, {"elu", 2},       {"gelu", 0},        {"gelu_tanh", 0},
    {"silu", 0}, {"sigmoid", 0}, {"tanh", 0},     {"hardswish", 0}, {"hardsigmoid", 0}, {"softplus", 2},
};

std::string operation_named(const std::string& kind) { return "operation '" + kind + "'"; }

float as_float(double value) {
    constexpr float most = std::numeric_limits<float>::max(), infinity = std::numeric_limits<float>::infinity();
    if (std::abs(value) > most) return value > 0 ? infinity : -infinity;
    return static_cast<float>(value);
}

Shape shape_from_json(size_t number, const Json& entry) {
    const std::string fault = "value " + std::to_string(number) + " has a shape which no model can have";
    require(entry.is_array() && entry.size() <= most_dimensions, fault);
    for (const Json& each : entry) require(is_count(each), fault);
    Shape shape = entry.get<Shape>();
    const auto size = product(shape, largest_value);
    require(size && *size > 0, fault);
    return shape;
}

float parameter(const Json& value, const std::string& activation) {
    if (value == "Infinity") return std::numeric_limits<float>::infinity();
    if (value == "-Infinity") return -std::numeric_limits<float>::infinity();
    require(value.is_number(), "activation '" + activation + "' has a parameter that is no number");
    return as_float(value.get<double>());
}

NamedActivation activation_from_json(const Json& entry) {
    require(entry.is_array() && !entry.empty() && entry[0].is_string(), "an activation is unknown");
    NamedActivation activation{entry[0].get<std::string>()};
    const auto found = activations.find(activation.name);
    const bool known = found != activations.end() && entry.size() - 1 == found->second;
    require(known, "an activation '" + activation.name + "' of so many parameters is unknown");
    for (size_t i = 0; i < found->second; i++) activation.parameters[i] = parameter(entry[i + 1], activation.name);
    return activation;
}

int64_t whole_number(const Json& value, const std::string& what) {
    require(value.is_number_integer(), what + " is not a whole number");
    constexpr auto most = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    require(!value.is_number_unsigned() || value.get<uint64_t>() <= most, what + " is too large");
    return value.get<int64_t>();
}

template <size_t length>
std::array<int64_t, length> whole_numbers(const Json& value, const std::string& what) {
    require(value.is_array() && value.size() == length, what + " is not " + std::to_string(length) + " numbers");
    std::array<int64_t, length> numbers;
    for (size_t i = 0; i < length; i++) numbers[i] = whole_number(value[i], what);
    return numbers;
}

Window window_from_json(const Json& entry, const std::string& what, bool average) {
    Window window;
    const auto at = [&](const char* name) -> const Json& { return entry.at(name); };
    window.kernel = whole_numbers<2>(at("kernel"), what + ": kernel");
    window.stride = whole_numbers<2>(at("stride"), what + ": stride");
    window.padding = whole_numbers<4>(at("padding"), what + ": padding");
    window.dilation = whole_numbers<2>(at("dilation"), what + ": dilation");
    window.upsample = whole_numbers<2>(at("upsample"), what + ": upsample");
    window.groups = whole_number(at("groups"), what + ": groups");
    if (!average) return window;
    require(at("include_padding").is_boolean(), what + ": include_padding is not true or false");
    window.include_padding = at("include_padding").get<bool>();
    window.divisor = whole_number(at("divisor"), what + ": divisor");
    return window;
}

void read_settings(const Kind& kind, const Json* entry, Operation& operation) {
    const std::string what = operation_named(operation.kind);
    require((entry != nullptr) == (kind.settings != Settings::none), what + " has settings that it cannot");
    if (!entry) return;
    std::set<std::string> wanted{"kernel", "stride", "padding", "dilation", "upsample", "groups"}, given;
    if (kind.settings == Settings::average_window) wanted.insert({"include_padding", "divisor"});
    if (kind.settings == Settings::normalisation) wanted = {"epsilon"};
    require(entry->is_object() && entry->size() == wanted.size(), what + " has settings that it cannot");
    for (const auto& [name, value] : entry->items()) given.insert(name);
    require(given == wanted, what + " has settings that it cannot");
    if (kind.settings == Settings::normalisation) {
        const Json& epsilon = entry->at("epsilon");
        const bool good = epsilon.is_number() && epsilon.get<double>() >= 0 && epsilon.get<double>() <= 1e30;
        require(good, what + ": epsilon is not a number from 0");
        operation.epsilon = as_float(epsilon.get<double>());
    } else {
        operation.window = window_from_json(*entry, what, kind.settings == Settings::average_window);
    }
}

Operation operation_from_json(const Json& entry) {
    const std::string name = entry.at("kind").get<std::string>();
    const Kind* kind = nullptr;
    for (const Kind& each : kinds)
        if (name == each.name) kind = &each;
    const Json& inputs = entry.at("inputs");
    require(kind && inputs.is_array() && (kind->inputs == 0 ? !inputs.empty() : inputs.size() == kind->inputs),
            "an " + operation_named(name) + " of so many inputs is unknown");
    Operation operation{};
    operation.op = static_cast<Op>(kind - kinds);
    operation.kind = name;
    for (const Json& input : inputs) {
        require(is_count(input), operation_named(name) + " has an input that is no number of a value");
        operation.inputs.push_back(as_count(input));
    }
    require(is_count(entry.at("output")), operation_named(name) + " has an output that is no number of a value");
    operation.output = as_count(entry.at("output"));
    if (const Json* layer = member(entry, "layer")) operation.layer = layer->get<std::string>();
    require(operation.layer.has_value() == kind->has_layer || kind->may_lack_layer,
            operation_named(name) + " has a layer that it cannot, or none");
    if (const Json* activation = member(entry, "activation")) operation.activation = activation_from_json(*activation);
    const bool fits = operation.activation ? kind->takes_activation : operation.op != Op::activation;
    require(fits, operation_named(name) + " has an activation that it cannot, or none");
    read_settings(*kind, member(entry, "settings"), operation);
    return operation;
}

// Every value is computed once, before it is used.
void check_order(const Program& program) {
    const size_t count = program.shapes.size();
    std::vector<bool> known(count);
    require(program.input < count, "the input is none of the values");
    known[program.input] = true;
    size_t computed = 1;
    for (const Operation& operation : program.operations) {
        for (const uint64_t used : operation.inputs)
            require(used < count && known[used], operation_named(operation.kind) + " uses a value too early");
        const uint64_t made = operation.output;
        require(made < count && !known[made], operation_named(operation.kind) + " computes a value which it cannot");
        known[made] = true;
        computed++;
    }
    require(program.output < count && known[program.output], "the output is never computed");
    require(computed == count, "not all values are computed");
}

std::vector<double> channel_numbers(const Json& entry, const char* name) {
    std::vector<double> numbers;
    require(entry.at(name).is_array() && !entry.at(name).empty(), "byte_input is malformed");
    for (const Json& each : entry.at(name)) {
        const bool good = each.is_number() && std::abs(each.get<double>()) < 1e30;
        require(good, std::string("byte_input cannot be: ") + name);
        numbers.push_back(each.get<double>());
    }
    return numbers;
}

void read_byte_input(const Json& entry, Program& program) {
    require(entry.is_object() && entry.size() == 2 && entry.contains("mean") && entry.contains("std"),
            "byte_input is malformed");
    const std::vector<double> mean = channel_numbers(entry, "mean"), deviation = channel_numbers(entry, "std");
    const Shape& shape = program.shapes[program.input];
    const bool fits = mean.size() == 1 || (shape.size() > 1 && shape[0] == mean.size());
    require(mean.size() == deviation.size() && fits, "byte_input has not the input's channels");
    for (size_t i = 0; i < mean.size(); i++) {
        require(deviation[i] > 0, "byte_input cannot be: std");
        program.byte_scale.push_back(as_float(1 / (255 * deviation[i])));
        program.byte_shift.push_back(as_float(-mean[i] / deviation[i]));
    }
}

}  // namespace

Program graph_from_json(const Json& graph) {
    Program program;
    require(graph.at("values").is_array() && graph.at("operations").is_array(), "the graph is malformed");
    for (const Json& shape : graph.at("values"))
        program.shapes.push_back(shape_from_json(program.shapes.size(), shape));
    for (const Json& entry : graph.at("operations")) program.operations.push_back(operation_from_json(entry));
    require(is_count(graph.at("input")) && is_count(graph.at("output")), "the input or the output is no value");
    program.input = as_count(graph.at("input"));
    program.output = as_count(graph.at("output"));
    check_order(program);
    if (const Json* byte_input = member(graph, "byte_input")) read_byte_input(*byte_input, program);
    return program;
}

Layer layer_from_json(const std::string& name, const Json& entry) {
    const std::map<std::string, Layer::Kind> kinds = {{"sparse", Layer::Kind::sparse}, {"dense", Layer::Kind::dense},
                                                      {"filters", Layer::Kind::filters},
                                                      {"affine", Layer::Kind::affine}};
    const auto kind = kinds.find(entry.at("kind").get<std::string>());
    require(kind != kinds.end(), "layer '" + name + "' is of an unknown kind");
    Layer layer{kind->second, 0, 0, true, {}};
    if (layer.kind == Layer::Kind::affine) return layer;
    const Json &outputs = entry.at("outputs"), &fan_in = entry.at("fan_in");
    const bool good = is_count(outputs) && as_count(outputs) > 0 && is_count(fan_in) && as_count(fan_in) > 0;
    require(good, "layer '" + name + "' has outputs or a fan-in that it cannot");
    layer.outputs = as_count(outputs);
    layer.fan_in = as_count(fan_in);
    const std::string precision = entry.at("precision").get<std::string>();
    require(precision == "f16" || precision == "f32", "layer '" + name + "' has an unknown precision");
    layer.exact = precision == "f32";
    return layer;
}

}  // namespace sparbor::model
