// Which of the steps for a dense convolution is the fastest for its shape.
#pragma once

#include "ops/outputs.h"

namespace sparbor {

// Whether it is Winograd's.
bool takes_tiles(const Geometry& geometry);

std::unique_ptr<Step> make_dense_convolution(const Placement& at, const Layer& layer, const Geometry& geometry,
                                             const Ending& ending);

}  // namespace sparbor
