// The product of rows with the weights of a layer of 8 bits: the rows become bytes, and sums are whole numbers.
#pragma once

#include "kernels/quads.h"
#include "ops/row_product.h"

namespace sparbor {

class ByteProduct : public RowProduct {
public:
    ByteProduct(size_t rows, size_t inputs, std::optional<Activation> activation);

    // The first thread has the rows of bytes, and behind them their ranges.
    size_t scratch_floats() const override;
    void run(const Call& call, const Rows& rows) const override;
    bool stays_within_rows() const override { return true; }
    bool leaves_bytes() const override { return most_rows_ == rows_; }  // none but the last ones otherwise
    void finds_bytes() override { finds_bytes_ = true; }

private:
    virtual size_t groups() const = 0;
    virtual double work() const = 0;  // nanoseconds for one row, roughly
    virtual void multiply(const Quads& kernels, const ByteRows& rows, size_t first_group, size_t last_group) const = 0;

    void run_some(const Call& call, const Rows& rows) const;

    size_t rows_, inputs_, stride_, most_rows_;
    bool finds_bytes_ = false;
    std::optional<Activation> activation_;
};

// Of a dense layer of 8 bits, or of a layer of quads, sparse or dense, whichever is faster for so many rows.
std::unique_ptr<RowProduct> make_byte_product(const Node& node, const Placement& at, size_t rows);

}  // namespace sparbor
