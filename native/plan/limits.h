// How much memory and work a program may ask for: shapes cost a file nothing, so what they ask for is tied to the bytes
// of its weights.
#pragma once

#include "ir/operator.h"

namespace sparbor {

// For sizes of 1, before anything is laid out: what the steps are laid out in takes no more than the weights allow for,
// and there is no more work. Each throws Refused.
void check_layouts(const Program& program, const std::vector<Shape>& shapes);
void check_work(const Program& program, const std::vector<Shape>& shapes);
// The same of the memory that a call takes.
void check_memory(const Program& program, uint64_t bytes);

// Multiply-adds, or numbers read or written, whichever are more.
double work_of(const Program& program, const std::vector<Shape>& shapes);

}  // namespace sparbor
