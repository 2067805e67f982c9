// The product of rows with the weights of a linear layer, and its bias: y = x · W^T + b.
#pragma once

#include "ops/outputs.h"

namespace sparbor {

class RowProduct {
public:
    virtual ~RowProduct() = default;
    // Of as many rows as it was made for. Of each thread's scratch it takes what comes first.
    virtual void run(const Call& call, const Rows& rows) const = 0;
    virtual size_t scratch_floats() const { return 0; }      // of a thread, whole cache lines
    virtual bool stays_within_rows() const { return false; }  // or reads whole branches, also beyond a row
    // Whether it leaves its rows in the scratch as bytes; and that they are there already, left by another of such rows.
    virtual bool leaves_bytes() const { return false; }
    virtual void finds_bytes() {}
    virtual const char* way() const { return "dense"; }
};

// Sparse or dense, whichever is faster for so many rows; the operation's activation is part of it.
std::unique_ptr<RowProduct> make_row_product(const Node& node, const Placement& at, size_t rows);

// What the functions of kinds that have such a layer say of it: whether it is one, multiply-adds for so many rows, and
// what it is laid out in.
void check_row_layer(const Node& node);
double work_of_rows(const Node& node, size_t rows);
LayoutCost layout_of_rows(const Node& node);

}  // namespace sparbor
