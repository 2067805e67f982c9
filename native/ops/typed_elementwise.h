// Operators of two values whose numbers are whole.
#pragma once

#include "ops/number_types.h"
#include "plan/placement.h"

namespace sparbor {

// The step of the operator of that name, of i32 or i64.
std::unique_ptr<Step> make_pair_of_wholes(const std::string& name, const Node& node, const Placement& at);

}  // namespace sparbor
