// The product of rows with the weights of a layer of quads: the rows become bytes, and sums are whole numbers.
#pragma once

#include "ops/row_product.h"

namespace sparbor {

std::unique_ptr<RowProduct> make_quad_product(const Node& node, const Placement& at, size_t rows);

}  // namespace sparbor
