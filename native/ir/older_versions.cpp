// Graphs of versions 1 and 2, as today's has them. There an item of the batch had a shape and the batch was understood;
// one float32 value came in and one went out; batch norms were two kinds, by their axis.
#include "ir/json.h"
#include "ir/program.h"

namespace sparbor {
namespace {

Json value_of(const Json& item) {
    Json shape = Json::array({"batch"});
    if (!item.is_array()) return item;  // which is refused later
    for (const Json& each : item) shape.push_back(each);
    return {{"type", "f32"}, {"shape", shape}};
}

// The number of dimensions of an operation's first input, or 2.
size_t dimensions_of(const Json& operation, const Json& values) {
    const Json& inputs = operation.at("inputs");
    const bool known =
        inputs.is_array() && !inputs.empty() && is_count(inputs[0]) && as_count(inputs[0]) < values.size();
    const Json* value = known ? &values[as_count(inputs[0])] : nullptr;
    return value && value->is_object() ? value->at("shape").size() : 2;
}

void upgrade_operation(Json& operation, const Json& values) {
    const Json kind = operation.at("kind");
    if (kind == "affine" || kind == "channel_affine") {
        operation["kind"] = "scale_shift";
        operation["settings"] = {{"axis", kind == "affine" ? dimensions_of(operation, values) - 1 : 1}};
    }
    if (kind == "concat") operation["settings"] = {{"axis", 1}};
}

void upgrade_layer(Json& layer) {
    if (!layer.is_object()) return;
    const Json kind = layer.at("kind");
    if (kind == "affine") layer["kind"] = "scale_shift";
    const Json* precision = member(layer, "precision");
    if (!precision) return;
    if (*precision == "f32") layer["weights"] = "exact";
    else if (*precision == "f16") layer["weights"] = kind == "sparse" ? "word16" : "halves";
    else layer["weights"] = *precision;
    layer.erase("precision");
}

}  // namespace

Json from_older_version(Json graph) {
    Json values = Json::array();
    for (const Json& shape : graph.at("values")) values.push_back(value_of(shape));
    graph["inputs"] = Json::array({{{"name", "input"}, {"value", graph.at("input")}}});
    graph["outputs"] = Json::array({{{"name", "output"}, {"value", graph.at("output")}}});
    for (Json& operation : graph.at("operations")) upgrade_operation(operation, values);
    for (Json& layer : graph.at("layers")) upgrade_layer(layer);
    graph["values"] = std::move(values);
    graph.erase("input");
    graph.erase("output");
    graph["version"] = newest_version;
    return graph;
}

}  // namespace sparbor
