// JSON as model files have it.
#pragma once

#define JSON_USE_IMPLICIT_CONVERSIONS 0
#include <nlohmann/json.hpp>

#include "program.h"

namespace sparbor::model {

using Json = nlohmann::json;

// A JSON object. Python writes infinities as no JSON knows them; they come as the strings "Infinity" and "-Infinity".
Json parse_object(const std::string& text, const std::string& what);

// The member of this name, or null if there is none or it is JSON's null.
const Json* member(const Json& object, const std::string& name);

inline bool is_count(const Json& value) { return value.is_number_unsigned(); }
inline uint64_t as_count(const Json& value) { return value.get<uint64_t>(); }
std::string shown(const Json& value);

// All but a layer's tensors.
Program graph_from_json(const Json& graph);
// What the graph says of a layer.
Layer layer_from_json(const std::string& name, const Json& entry);

}  // namespace sparbor::model
