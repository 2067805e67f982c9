// What moves numbers and changes none: reshapes, concatenations.
#include <algorithm>
#include <cstring>

#include "ops/families.h"
#include "ops/outputs.h"

namespace sparbor {
namespace {

// The same numbers in rows of another length.
class Reshape final : public Step {
public:
    Reshape(Value x, Value y) : x_(x), y_(y) {}

    void run(const Call& call) const override {
        const size_t x_stride = row_stride(x_.features), y_stride = row_stride(y_.features);
        const float* x = call.data(x_);
        float* y = call.data(y_);
        if (x_stride == x_.features && y_stride == y_.features)
            return static_cast<void>(std::memcpy(y, x, call.rows(x_) * x_stride * sizeof(float)));
        // Copies the longest pieces that lie in one row of both.
        const size_t total = call.rows(x_) * x_.features;
        for (size_t at = 0; at < total;) {
            const size_t x_column = at % x_.features, y_column = at % y_.features;
            const size_t piece = std::min(x_.features - x_column, y_.features - y_column);
            std::memcpy(y + at / y_.features * y_stride + y_column, x + at / x_.features * x_stride + x_column,
                        piece * sizeof(float));
            at += piece;
        }
    }

private:
    Value x_, y_;
};

// Along the items' rows, or along the features of items of one row.
class Concatenate final : public Step {
public:
    Concatenate(std::vector<Value> parts, Value y) : parts_(std::move(parts)), y_(y) {}

    void run(const Call& call) const override {
        const size_t y_stride = row_stride(y_.features);
        size_t at = 0;  // within an item of y
        for (const Value& part : parts_) {
            const size_t stride = row_stride(part.features);
            for (size_t item = 0; item < call.batch; item++)
                std::memcpy(call.data(y_, item) + at, call.data(part, item),
                            ((part.rows - 1) * stride + part.features) * sizeof(float));
            at += part.features == y_.features ? part.rows * y_stride : part.features;
        }
    }

private:
    std::vector<Value> parts_;
    Value y_;
};

void check_reshape(const Node& node) { node.require(numbers_of(node.x()) == numbers_of(node.y())); }

void check_concat(const Node& node) {
    const Shape& y = node.y();
    node.require(!y.empty());
    uint64_t sum = 0;
    for (size_t i = 0; i < node.inputs(); i++) {
        const Shape& x = node.x(i);
        node.require(x.size() == y.size() && std::equal(x.begin() + 1, x.end(), y.begin() + 1));
        sum += x[0];
        node.require(sum <= y[0]);
    }
    node.require(sum == y[0]);
}

std::unique_ptr<Step> make_reshape(const Node&, const Placement& at) {
    return std::make_unique<Reshape>(at.x[0], at.y);
}

std::unique_ptr<Step> make_concat(const Node&, const Placement& at) {
    return std::make_unique<Concatenate>(at.x, at.y);
}

}  // namespace

const std::vector<OperatorType>& shape_operators() {
    static const std::vector<OperatorType> types = {
        {"reshape", 1, Has::no, Has::no, {}, Aliasing::view, check_reshape, work_of_reading, no_layout, make_reshape},
        {"concat", 0, Has::no, Has::no, {}, Aliasing::none, check_concat, work_of_reading, no_layout, make_concat},
    };
    return types;
}

}  // namespace sparbor
