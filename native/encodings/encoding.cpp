#include "encodings/encoding.h"

#include <algorithm>
#include <cmath>

#include "ir/json.h"

namespace sparbor {
namespace {

const Encoding* const encodings[] = {&sparse_exact,   &sparse_word16, &sparse_int8, &dense_exact, &dense_halves,
                                     &dense_int8,     &filters_exact, &filters_halves, &filters_int8, &table_exact,
                                     &table_halves,   &scale_shift,   &array};

bool knows_kind(const Json& kind) {
    return std::any_of(std::begin(encodings), std::end(encodings),
                       [&](const Encoding* each) { return kind == each->kind_name; });
}

uint64_t read_size(const std::string& name, const Json& entry, const char* part) {
    const Json* size = member(entry, part);
    require(size && is_count(*size) && as_count(*size) > 0,
            "layer " + in_quotes(name) + " has " + part + " " + shown(size));
    return as_count(*size);
}

}  // namespace

Layer read_layer(const std::string& name, const Json& entry) {
    require(entry.is_object(), "layer " + in_quotes(name) + " is malformed");
    const Json &kind = entry.at("kind"), *weights = member(entry, "weights");
    require_known(knows_kind(kind), "kind " + shown(kind) + ", which layer " + in_quotes(name) + " is of");
    Layer layer{name, nullptr, 0, 0, {}};
    for (const Encoding* each : encodings)
        if (kind == each->kind_name && (!each->weights || (weights && *weights == each->weights)))
            layer.encoding = each;
    require_known(layer.encoding, "weights of kind " + shown(weights) + ", which layer " + in_quotes(name) + " is of");
    if (!is_matrix(layer)) return layer;
    layer.outputs = read_size(name, entry, "outputs");
    layer.fan_in = read_size(name, entry, "fan_in");
    return layer;
}

void check_layer(Layer& layer) {
    LayerCheck check(layer);
    layer.encoding->check(check);
    check.no_other_parts();
    if (is(layer, LayerKind::scale_shift)) layer.outputs = layer.parts.at("scale").shape[0];
}

void LayerCheck::operator()(bool holds, const std::string& fault) const {
    if (!holds) throw Refused("layer " + in_quotes(layer_.name) + ": " + fault);
}

const Tensor& LayerCheck::part(const char* part, Number type, const Shape* shape) {
    const auto found = layer_.parts.find(part);
    require(found != layer_.parts.end(), "layer " + in_quotes(layer_.name) + " has no " + part);
    const Tensor& tensor = found->second;
    (*this)(tensor.type == type, part + std::string(" is of another type than its kind has"));
    if (shape && tensor.shape != *shape)
        (*this)(false, part + (" has shape " + to_text(tensor.shape)) + ", not " + to_text(*shape));
    known_++;
    return tensor;
}

void LayerCheck::bias() {
    const Shape outputs{layer_.outputs};
    if (layer_.parts.count("bias"))
        (*this)(all_finite(part("bias", Number::f32, &outputs)), "bias holds NaN or infinity");
}

void LayerCheck::scale() {
    const Shape outputs{layer_.outputs};
    const Tensor& scale = part("scale", Number::f32, &outputs);
    const auto* values = scale.as<float>();
    const auto sound = [](float value) { return std::isfinite(value) && value > 0; };
    (*this)(std::all_of(values, values + scale.count(), sound), "a neuron's scale is not a positive number");
}

void LayerCheck::symmetric(const Tensor& weights) const {
    const auto* const numbers = weights.as<int8_t>();
    const bool found = std::find(numbers, numbers + weights.count(), INT8_MIN) != numbers + weights.count();
    (*this)(!found, "a weight is -128, and they go from -127 to 127");
}

void LayerCheck::sums_of_bytes(uint64_t largest) const {
    constexpr uint64_t largest_input = 255, most = INT32_MAX / largest_input;
    (*this)(largest <= most, "with a fan-in of " + std::to_string(layer_.fan_in) + ", a neuron's weights add up to " +
                                 with_commas(largest) + ", and its sums have 32 bits: at most " + with_commas(most));
}

void LayerCheck::no_other_parts() const {
    (*this)(known_ == layer_.parts.size(), "it has unknown arrays beside those of its kind");
}

bool all_finite(const Tensor& floats) {
    const auto* values = floats.as<float>();
    return std::all_of(values, values + floats.count(), [](float value) { return std::isfinite(value); });
}

bool halves_finite(const Tensor& halves) {
    constexpr uint16_t exponent = 0x7C00;
    const auto* words = halves.as<uint16_t>();
    bool finite = true;  // all of them are looked at, in vectors
    for (uint64_t i = 0, count = halves.count(); i < count; i++) finite &= (words[i] & exponent) != exponent;
    return finite;
}

}  // namespace sparbor
