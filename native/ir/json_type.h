// The type of JSON values, for headers that but name it: all that it has takes a second to compile.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace sparbor {

using Json = nlohmann::json;

}  // namespace sparbor
