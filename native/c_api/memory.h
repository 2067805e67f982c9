// Where a program's values lie while it runs, and how much memory and work it may take: buffers.py and allowance.py in C++.
#pragma once

#include "program.h"

namespace sparbor::model {

// How many numbers an item has.
size_t numbers_of(const Shape& shape);

// Multiply-adds of one item, or numbers read or written, whichever are more; a double, which cannot overflow.
double work(const Program& program);

// A place in a buffer for each value.
std::vector<Value> plan_buffers(const Program& program);

// Whether it is a reshape that leaves every number in its place.
bool is_free(const Operation& operation, const std::vector<Value>& values);

// Before anything is allocated: the buffers of one item, and what the steps are laid out in, each take no more than the
// model's weights allow for.
void check_buffers(const Program& program, const std::vector<Value>& values);
void check_steps(const Program& program);
// The same of the layers that operations use, each of which is looked through before anything is laid out.
void check_uses(const Program& program);
void check_work(const Program& program);
// The same for what one item takes in the end.
void check_item(const Program& program, uint64_t bytes);

}  // namespace sparbor::model
