#pragma once

#include <nanobind/nanobind.h>

namespace sparbor {

// Adds training's functions to the module; ops.py calls them, with arrays that it has made.
void bind_training(nanobind::module_& module);

}  // namespace sparbor
