// What moves numbers and changes none. Most are views: the same bytes, looked at in another way.
#include <algorithm>
#include <cstring>

#include "ops/families.h"
#include "ops/outputs.h"
#include "plan/copy_step.h"

namespace sparbor {
namespace {

Shape with(Shape shape, size_t axis, uint64_t size) {
    shape[axis] = size;
    return shape;
}

void check_same_type(const Node& node) {
    for (size_t i = 0; i < node.inputs(); i++)
        node.require(node.x_type(i) == node.y_type(), "its values are of different types");
}

std::unique_ptr<Step> make_copy(const Node&, const Placement& at) {
    return std::make_unique<CopyStep>(std::vector{at.x[0]}, std::vector{at.y});
}

void check_reshape(const Node& node) {
    check_same_type(node);
    node.require(numbers_of(node.x()) == numbers_of(node.y()));
}

// Dimensions of x that go on where the next ones end are a chunk, which dimensions of y can divide in another way.
std::optional<Value> view_reshaped(const Node& node, const Value& x) {
    Value y{x.type, node.y(), std::vector<size_t>(node.y().size(), 1), x.offset};
    size_t left = y.shape.size();  // of y's dimensions
    size_t stride = x.shape.empty() ? 1 : x.strides.back(), chunk = 1, divided = 1;
    for (size_t i = x.shape.size(); i-- > 0;) {
        chunk *= x.shape[i];
        if (i > 0 && (x.shape[i - 1] == 1 || x.strides[i - 1] == chunk * stride)) continue;
        while (left > 0 && (divided < chunk || y.shape[left - 1] == 1)) {
            y.strides[--left] = divided * stride;
            divided *= y.shape[left];
        }
        if (divided != chunk) return std::nullopt;
        if (i > 0) stride = x.strides[i - 1];
        chunk = divided = 1;
    }
    return y;
}

void check_permute(const Node& node) {
    check_same_type(node);
    const std::vector<int64_t>& order = node.settings().list("order");
    std::vector<int64_t> sorted = order;
    std::sort(sorted.begin(), sorted.end());
    bool all = sorted.size() == node.x().size() && node.y().size() == node.x().size();
    for (size_t i = 0; all && i < sorted.size(); i++) all = sorted[i] == static_cast<int64_t>(i);
    node.require(all, "its order is not one of all dimensions");
    for (size_t i = 0; i < order.size(); i++) node.require(node.y()[i] == node.x()[static_cast<size_t>(order[i])]);
}

std::optional<Value> view_permuted(const Node& node, const Value& x) {
    Value y{x.type, node.y(), {}, x.offset};
    for (const int64_t from : node.settings().list("order")) y.strides.push_back(x.strides[static_cast<size_t>(from)]);
    return y;
}

// Where a slice begins: a negative number is counted from the end.
int64_t first_of(const Node& node) {
    const int64_t start = node.settings().whole("start");
    return start < 0 ? start + static_cast<int64_t>(node.x()[node.axis()]) : start;
}

void check_slice(const Node& node) {
    check_same_type(node);
    node.require(node.x().size() == node.y().size());
    const size_t axis = node.axis();
    node.require(node.y() == with(node.x(), axis, node.y()[axis]));
    constexpr int64_t most = int64_t{1} << 40;
    const int64_t step = node.settings().whole("step"), start = node.settings().whole("start");
    node.require(step >= 1 && step <= most && start >= -most && start <= most, "it starts or steps beyond the input");
    const auto size = static_cast<int64_t>(node.x()[axis]), last = static_cast<int64_t>(node.y()[axis]) - 1;
    const int64_t first = first_of(node);
    node.require(first >= 0 && first < size && last <= (size - 1 - first) / step, "it goes beyond the input: pass shorter inputs");
}

std::optional<Value> view_slice(const Node& node, const Value& x) {
    Value y{x.type, node.y(), x.strides, x.offset};
    const size_t axis = node.axis();
    y.offset += static_cast<size_t>(first_of(node)) * x.strides[axis] * bytes_of(x.type);
    if (y.shape[axis] > 1) y.strides[axis] *= static_cast<size_t>(node.settings().whole("step"));
    return y;
}

void check_expand(const Node& node) {
    check_same_type(node);
    node.require(node.x().size() == node.y().size());
    for (size_t i = 0; i < node.x().size(); i++)
        node.require(node.x()[i] == node.y()[i] || node.x()[i] == 1, "a dimension that grows is not 1");
}

std::optional<Value> view_expanded(const Node& node, const Value& x) {
    Value y{x.type, node.y(), x.strides, x.offset};
    for (size_t i = 0; i < x.shape.size(); i++)
        if (x.shape[i] == 1) y.strides[i] = 0;
    return y;
}

void check_concat(const Node& node) {
    check_same_type(node);
    const size_t axis = node.axis();
    uint64_t sum = 0;
    for (size_t i = 0; i < node.inputs(); i++) {
        const Shape& x = node.x(i);
        node.require(x.size() == node.y().size() && with(x, axis, node.y()[axis]) == node.y());
        sum += x[axis];
        node.require(sum <= largest_value);
    }
    node.require(sum == node.y()[axis]);
}

// Each part to its slice of the output.
std::unique_ptr<Step> make_concat(const Node& node, const Placement& at) {
    std::vector<Value> slices;
    size_t begin = 0;
    for (const Value& part : at.x) {
        Value slice = at.y;
        slice.shape = part.shape;
        slice.offset += begin * at.y.strides[node.axis()] * bytes_of(at.y.type);
        begin += part.shape[node.axis()];
        slices.push_back(std::move(slice));
    }
    return std::make_unique<CopyStep>(at.x, slices);
}

void check_pad(const Node& node) {
    check_same_type(node);
    const std::vector<int64_t>&before = node.settings().list("before"), &after = node.settings().list("after");
    const size_t dimensions = node.x().size();
    node.require(node.y().size() == dimensions && before.size() == dimensions && after.size() == dimensions,
                 "it has not as many numbers before and after as the input dimensions");
    constexpr auto most = static_cast<int64_t>(largest_dimension);
    for (size_t i = 0; i < dimensions; i++) {
        node.require(before[i] >= 0 && after[i] >= 0 && before[i] <= most && after[i] <= most,
                     "what is before or after is negative, or too much");
        node.require(node.y()[i] == node.x()[i] + static_cast<uint64_t>(before[i]) + static_cast<uint64_t>(after[i]));
    }
}

// Zeros, and then the input amid them.
class PadStep final : public Step {
public:
    PadStep(const Value& x, const Value& y, const Value& inside)
        : y_(y.offset), bytes_(bytes_of(y)), copy_({x}, {inside}) {}

    void run(const Call& call) const override {
        std::memset(call.memory() + y_, 0, bytes_);
        copy_.run(call);
    }

private:
    size_t y_, bytes_;
    CopyStep copy_;
};

std::unique_ptr<Step> make_pad(const Node& node, const Placement& at) {
    Value inside = at.y;
    inside.shape = at.x[0].shape;
    for (size_t i = 0; i < inside.shape.size(); i++)
        inside.offset += static_cast<size_t>(node.settings().list("before")[i]) * at.y.strides[i] * bytes_of(at.y.type);
    return std::make_unique<PadStep>(at.x[0], at.y, inside);
}

}  // namespace

const std::vector<OperatorType>& shape_operators() {
    using Type = SettingRule::Type;
    constexpr auto none = Aliasing::none;
    constexpr auto any = Takes::any;
    constexpr auto comes = Lies::as_it_comes;
    const std::vector<SettingRule> axis = {{"axis", Type::whole}}, order = {{"order", Type::list}};
    const std::vector<SettingRule> slice = {{"axis", Type::whole}, {"start", Type::whole}, {"step", Type::whole}};
    const std::vector<SettingRule> pad = {{"before", Type::list}, {"after", Type::list}};
    static const std::vector<OperatorType> types = {
        {"reshape", 1, Has::no, Has::no, {}, any, comes, none, check_reshape, work_of_reading, no_layout, make_copy,
         view_reshaped},
        {"permute", 1, Has::no, Has::no, order, any, comes, none, check_permute, work_of_reading, no_layout, make_copy,
         view_permuted},
        {"slice", 1, Has::no, Has::no, slice, any, comes, none, check_slice, work_of_reading, no_layout, make_copy,
         view_slice},
        {"expand", 1, Has::no, Has::no, {}, any, comes, none, check_expand, work_of_reading, no_layout, make_copy,
         view_expanded},
        {"concat", several, Has::no, Has::no, axis, any, comes, none, check_concat, work_of_reading, no_layout,
         make_concat},
        {"pad", 1, Has::no, Has::no, pad, any, comes, none, check_pad, work_of_reading, no_layout, make_pad},
    };
    return types;
}

}  // namespace sparbor
