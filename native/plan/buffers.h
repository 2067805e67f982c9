// Where a program's values lie while it runs.
#pragma once

#include "ir/operator.h"
#include "plan/engine.h"

namespace sparbor {

// A place for each value: a buffer is free again once its value has been used for the last time.
std::vector<Value> plan_buffers(const Program& program);

// Whether there is nothing to compute: the output lies where the input does, and exactly so.
bool is_view(const Operation& operation, const std::vector<Value>& values);

}  // namespace sparbor
