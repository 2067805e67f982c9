// Which kernel sets this machine can run, best first.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace sparbor {

const std::vector<const KernelSet*>& available_kernel_sets();

// The set of that name, or null if this machine cannot run it or the build does not have it.
const KernelSet* find_kernel_set(const std::string& name);

// The best one, or the one that the environment variable SPARBOR_ISA names. Throws std::runtime_error.
const KernelSet& chosen_kernel_set();

}  // namespace sparbor
