// Where a value lies while a program runs: its numbers are found by strides, so that the same bytes can be looked at in
// several ways.
#pragma once

#include <algorithm>
#include <optional>

#include "ir/operator.h"
#include "kernels/kernels.h"

namespace sparbor {

// Numbers between two rows: whole branches, and not a multiple of a page's quarter, because rows at such distances
// would compete for the same cache lines.
constexpr size_t row_stride(size_t columns) {
    const size_t whole = round_up(columns, branch_size);
    return whole % 256 == 0 ? whole + branch_size : whole;
}

struct Value {
    Number type;
    Shape shape;
    std::vector<size_t> strides;  // in numbers, a dimension each
    size_t offset;                // of the first number in the memory of a call, in bytes
    bool shifted = false;         // whether its storage begins before it, so that its last row's padding may go beyond that
};

// Bytes behind a value of bytes that kernels may read, though no number lies there.
constexpr size_t readable_behind = 64;

// Floats as rows, each of consecutive columns.
struct Matrix {
    size_t offset;  // in floats
    size_t rows, columns;
    size_t stride;     // floats from one row to the next
    size_t item_rows;  // rows for each index of the value's first dimension

    bool operator==(const Matrix&) const = default;
};

// Whether an operator that takes its inputs so can read the value where it lies.
bool is_readable(const Value& value, Lies lies);
// How a value is laid out for such an operator: as one of those that leave it no choice.
Lies wanted_by(Lies lies);
// The first dimension that is within a row.
size_t first_column(Lies lies, size_t dimensions);
// The value as a matrix, if its numbers lie so.
std::optional<Matrix> find_matrix(const Value& value, Lies lies);
// The same of one that does.
inline Matrix rows_of(const Value& value) { return *find_matrix(value, Lies::rows); }
inline Matrix planes_of(const Value& value) { return *find_matrix(value, Lies::planes); }

// A value of whole rows, row_stride apart, or of pixels without gaps, from offset 0 on; and how many bytes it takes.
Value laid_out(Number type, const Shape& shape, Lies lies);
size_t bytes_of(const Value& value);

// The matrix of a value that was laid out, in either way; planes if both are possible.
std::optional<Matrix> find_laid_out(const Value& value);
// Whether they have one shape, and equal strides where those matter.
bool lie_alike(const Value& x, const Value& y);
// The same, and whole rows of x, padding and all, lie in its own storage.
inline bool lie_alike_in_whole(const Value& x, const Value& y) { return lie_alike(x, y) && !x.shifted; }

}  // namespace sparbor
