// Where a program's values lie while it runs, and how much memory it may take: buffers.py in C++.
#pragma once

#include "program.h"

namespace sparbor::model {

// How many numbers an item has.
size_t numbers_of(const Shape& shape);

// A place in a buffer for each value.
std::vector<Value> plan_buffers(const Program& program);

// Whether it is a reshape that leaves every number in its place.
bool is_free(const Operation& operation, const std::vector<Value>& values);

// Before anything is allocated: the buffers of one item, and what the steps are laid out in, each take no more than the
// model's weights allow for.
void check_buffers(const Program& program, const std::vector<Value>& values);
void check_steps(const Program& program);
// The same for what one item takes in the end.
void check_item(const Program& program, uint64_t bytes);

}  // namespace sparbor::model
