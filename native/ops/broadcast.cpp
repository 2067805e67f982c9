#include "ops/broadcast.h"

#include <algorithm>

namespace sparbor {
namespace {

// What a row is made of: all dimensions but the first, if there are two or more.
Shape within_row(const Shape& shape) { return shape.size() < 2 ? shape : Shape(shape.begin() + 1, shape.end()); }

bool all_one(const Shape& shape, size_t from) {
    return std::all_of(shape.begin() + static_cast<ptrdiff_t>(from), shape.end(), [](uint64_t each) { return each == 1; });
}

bool same_from(const Shape& left, const Shape& right, size_t from) {
    return std::equal(left.begin() + static_cast<ptrdiff_t>(from), left.end(), right.begin() + static_cast<ptrdiff_t>(from));
}

// From which dimension on an operand gives its numbers one after another, or as one.
size_t run_begin(const Shape& x, const Shape& y) {
    size_t from = y.size();
    while (from > 0 && (same_from(x, y, from - 1) || all_one(x, from - 1))) from--;
    return from;
}

uint64_t numbers_from(const Shape& shape, size_t from) {
    return numbers_of({shape.begin() + static_cast<ptrdiff_t>(from), shape.end()});
}

Operand operand_of(const Value& value, const Shape& x, const Shape& y, size_t run_from) {
    Operand operand{value, value.rows, all_one(x, run_from) && !same_from(x, y, run_from), {}};
    std::vector<size_t> at(run_from);  // which run, by dimension
    for (uint64_t run = 0; run < numbers_of({y.begin(), y.begin() + static_cast<ptrdiff_t>(run_from)}); run++) {
        size_t offset = 0;
        for (size_t i = 0; i < run_from; i++)
            if (x[i] != 1) offset += at[i] * numbers_from(x, i + 1);
        operand.offsets.push_back(offset);
        for (size_t i = run_from; i-- > 0 && ++at[i] == y[i];) at[i] = 0;
    }
    return operand;
}

}  // namespace

void check_broadcast(const Node& node) {
    const Shape& y = node.y();
    for (size_t input = 0; input < node.inputs(); input++) {
        node.require(node.x(input).size() == y.size(), "values that are broadcast have as many dimensions");
        for (size_t i = 0; i < y.size(); i++)
            node.require(node.x(input)[i] == y[i] || node.x(input)[i] == 1, "a dimension is neither equal nor 1");
    }
    for (size_t i = 0; i < y.size(); i++)
        node.require(y[i] == std::max(node.x(0)[i], node.x(1)[i]), "the output is larger than what is broadcast");
}

Runs runs_of(const Node& node, const Placement& at) {
    const Shape left = within_row(node.x(0)), right = within_row(node.x(1)), y = within_row(node.y());
    const size_t from = std::max(run_begin(left, y), run_begin(right, y));
    return {numbers_from(y, from), operand_of(at.x[0], left, y, from), operand_of(at.x[1], right, y, from)};
}

}  // namespace sparbor
