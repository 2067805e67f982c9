// How much memory and work a program may ask for: shapes cost a file nothing, so what they ask for is tied to the bytes of
// its weights.
#pragma once

#include "ir/program.h"
#include "plan/engine.h"

namespace sparbor {

// Before anything is allocated: the buffers of one item, and what the steps are laid out in, each take no more than the
// weights allow for, and one item takes no more work. Each throws Refused.
void check_buffers(const Program& program, const std::vector<Value>& values);
void check_layouts(const Program& program);
void check_work(const Program& program);
// The same of what one item takes in the end.
void check_item(const Program& program, uint64_t bytes);

// Multiply-adds of one item, or numbers read or written, whichever are more.
double work_of(const Program& program);

}  // namespace sparbor
