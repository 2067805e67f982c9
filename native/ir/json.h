// JSON as model files have it.
#pragma once

#define JSON_USE_IMPLICIT_CONVERSIONS 0
#include <nlohmann/json.hpp>

#include "ir/json_type.h"
#include "ir/refused.h"

namespace sparbor {

// A JSON object. Python writes infinities as no JSON knows them; they come as the strings "Infinity" and "-Infinity".
Json parse_object(const std::string& text, const std::string& what);

// The member of this name, or null if there is none or it is JSON's null.
const Json* member(const Json& object, const std::string& name);

inline bool is_count(const Json& value) { return value.is_number_unsigned(); }
inline uint64_t as_count(const Json& value) { return value.get<uint64_t>(); }

// As it stands in the file, cut if it is long; "null" for a member that there is not.
std::string shown(const Json& value);
std::string shown(const Json* value);

}  // namespace sparbor
