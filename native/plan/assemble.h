// From a program that has been checked to the engine that runs it.
#pragma once

#include <memory>

#include "ir/program.h"
#include "plan/engine.h"

namespace sparbor {

// The engine points into the program's tensors. Throws Refused if it would need more memory than its weights make
// likely, and std::runtime_error if the system does not start so many threads.
std::unique_ptr<Engine> assemble(const Program& program, const KernelSet& kernels, size_t threads);

}  // namespace sparbor
