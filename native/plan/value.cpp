#include "plan/value.h"

namespace sparbor {
namespace {

// Whether pixels or channels lie one after another, or an item is a single pixel, whose channels may be anywhere.
bool are_pixels(const Value& value) {
    const size_t dimensions = value.shape.size();
    for (size_t i = dimensions; i-- > 2;)
        if (value.shape[i] != 1) return value.strides[i] == 1 || value.strides[1] == 1;
    return true;
}

// Channels, dimension 1, one after another, and then those of the next pixel.
Value laid_out_as_pixels(Number type, const Shape& shape) {
    Value value{type, shape, std::vector<size_t>(shape.size()), 0};
    size_t stride = shape[1];
    for (size_t i = shape.size(); i-- > 0;) {
        value.strides[i] = i == 1 ? 1 : stride;
        if (i != 1) stride *= shape[i];
    }
    return value;
}

}  // namespace

bool is_readable(const Value& value, Lies lies) {
    switch (lies) {
        case Lies::as_it_comes:
        case Lies::by_strides: return true;
        case Lies::heads: return value.shape.empty() || value.shape.back() == 1 || value.strides.back() == 1;
        case Lies::rows:
        case Lies::planes:
        case Lies::by_axis: return find_matrix(value, lies).has_value();
        case Lies::pixels: return are_pixels(value);
    }
    return false;  // there is no other, which the compiler does not know
}

Lies wanted_by(Lies lies) {
    if (lies == Lies::pixels) return Lies::planes;  // what is no quantized value
    return lies == Lies::heads || lies == Lies::by_strides ? Lies::rows : lies;
}

size_t first_column(Lies lies, size_t dimensions) {
    switch (lies) {
        case Lies::planes:
        case Lies::pixels:
        case Lies::as_it_comes: return dimensions > 2 ? 2 : dimensions - (dimensions > 0);
        case Lies::rows:
        case Lies::by_strides:
        case Lies::heads:
        case Lies::by_axis: return dimensions - (dimensions > 0);
    }
    return 0;  // there is no other, which the compiler does not know
}

std::optional<Matrix> find_matrix(const Value& value, Lies lies) {
    const size_t dimensions = value.shape.size(), column = first_column(lies, dimensions);
    size_t expected = 1;
    for (size_t i = dimensions; i-- > column; expected *= value.shape[i])
        if (value.shape[i] != 1 && value.strides[i] != expected) return std::nullopt;
    Matrix matrix{value.offset / sizeof(float), 1, expected, row_stride(expected), 1};
    bool found = false;
    for (size_t i = column; i-- > 0; matrix.rows *= value.shape[i]) {
        if (i == 0) matrix.item_rows = matrix.rows;
        if (value.shape[i] == 1) continue;
        if (found && value.strides[i] != matrix.stride * matrix.rows) return std::nullopt;
        if (!found) matrix.stride = value.strides[i];
        found = true;
    }
    return matrix;
}

Value laid_out(Number type, const Shape& shape, Lies lies) {
    if (lies == Lies::heads) {
        Value value = laid_out(type, {shape[0], shape[2], shape[1] * shape[3]}, Lies::rows);
        value.strides = {value.strides[0], shape[3], value.strides[1], 1};
        value.shape = shape;
        return value;
    }
    if (lies == Lies::pixels) return laid_out_as_pixels(type, shape);
    const size_t column = first_column(lies, shape.size());
    Value value{type, shape, std::vector<size_t>(shape.size()), 0};
    size_t stride = 1;
    for (size_t i = shape.size(); i-- > 0; stride *= shape[i]) {
        if (i + 1 == column) stride = row_stride(stride);
        value.strides[i] = stride;
    }
    return value;
}

size_t bytes_of(const Value& value) {
    if (value.shape.size() < 2) return round_up(row_stride(numbers_of(value.shape)) * bytes_of(value.type), 64);
    size_t numbers = 0;
    for (size_t i = 0; i < value.shape.size(); i++) numbers = std::max(numbers, value.strides[i] * value.shape[i]);
    return round_up(numbers * bytes_of(value.type) + (value.type == Number::u8 ? readable_behind : 0), 64);
}

std::optional<Matrix> find_laid_out(const Value& value) {
    for (const Lies lies : {Lies::planes, Lies::rows})
        if (lie_alike(laid_out(value.type, value.shape, lies), value)) return find_matrix(value, lies);
    return std::nullopt;
}

bool lie_alike(const Value& x, const Value& y) {
    if (x.shape != y.shape) return false;
    for (size_t i = 0; i < x.shape.size(); i++)
        if (x.shape[i] != 1 && x.strides[i] != y.strides[i]) return false;
    return true;
}

}  // namespace sparbor
