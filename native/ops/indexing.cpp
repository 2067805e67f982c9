// What chooses numbers by indices that are computed or given: rows of a table, and of a value.
#include <cstring>

#include "encodings/encoding.h"
#include "ops/families.h"
#include "ops/indices.h"
#include "ops/number_types.h"
#include "ops/outputs.h"

namespace sparbor {
namespace {

// Each number of the output is x's at its own place, but for the axis, where the index is.
class ChoosingStep final : public Step {
public:
    // How far x, without the axis, and the indices move with each dimension of the output.
    ChoosingStep(const Value& x, size_t axis, const Value& y, const std::vector<size_t>& x_strides,
                 const std::vector<size_t>& index_strides, Indices indices)
        : x_(x), stride_(x.strides[axis]), y_(y), loops_(y.shape, {y.strides, x_strides, index_strides}),
          indices_(std::move(indices)) {}

    void run(const Call& call) const override {
        indices_.check(call);
        with_bytes(x_.type, [&](auto type) { run_typed<typename decltype(type)::Number>(call); });
    }

private:
    template <class Number>
    void run_typed(const Call& call) const {
        const auto* const x = reinterpret_cast<const Number*>(call.memory() + x_.offset);
        auto* const y = reinterpret_cast<Number*>(call.memory() + y_.offset);
        const auto [y_step, x_step, index_step, unused] = loops_.steps();
        for_parts(call, loops_, 0.5, [&, y_step = y_step, x_step = x_step, index_step = index_step](
                                         const Loops::Steps& at, size_t count) {
            const Number* const from = x + at[1];
            Number* const to = y + at[0];
            if (index_step > 0) {
                for (size_t i = 0; i < count; i++)
                    to[i * y_step] = from[i * x_step + indices_.at(call.memory(), at[2] + i * index_step) * stride_];
                return;
            }
            const Number* const row = from + indices_.at(call.memory(), at[2]) * stride_;
            if (y_step == 1 && x_step == 1) std::memcpy(to, row, count * sizeof(Number));
            else
                for (size_t i = 0; i < count; i++) to[i * y_step] = row[i * x_step];
        });
    }

    Value x_;
    size_t stride_;  // of the axis
    Value y_;
    Loops loops_;
    Indices indices_;
};

// Rows of a table, a row an id.
class EmbeddingStep final : public Step {
public:
    EmbeddingStep(const Value& ids, const Value& y, const Layer& table, Indices indices)
        : features_(table.fan_in), y_(y.offset / sizeof(float)),
          loops_(ids.shape, {{y.strides.begin(), y.strides.end() - 1}, ids.strides}), indices_(std::move(indices)),
          floats_(table.data<float>("weights")), halves_(table.data<uint16_t>("halves")),
          scale_(table.data<float>("scale")) {}

    void run(const Call& call) const override {
        indices_.check(call);
        float* const y = reinterpret_cast<float*>(call.memory()) + y_;
        for_parts(call, loops_, 0.2 * static_cast<double>(features_), [&](const Loops::Steps& at, size_t count) {
            for (size_t i = 0; i < count; i++) {
                const size_t id = indices_.at(call.memory(), at[1] + i * loops_.steps()[1]);
                float* const to = y + at[0] + i * loops_.steps()[0];
                if (floats_) std::memcpy(to, floats_ + id * features_, features_ * sizeof(float));
                else call.kernels.elementwise->from_halves(halves_ + id * features_, scale_[id], to, features_);
            }
        });
    }

private:
    size_t features_, y_;
    Loops loops_;
    Indices indices_;
    const float* floats_;
    const uint16_t* halves_;
    const float* scale_;
};

void check_indices(const Node& node, size_t input) {
    const Number type = node.x_type(input);
    node.require(type == Number::i32 || type == Number::i64, "its indices are neither i32 nor i64");
}

size_t axis_of(const Node& node) {
    const int64_t axis = node.settings().whole("axis");
    node.require(axis >= 0 && axis < static_cast<int64_t>(node.x().size()), "its axis is none of the input's dimensions");
    return static_cast<size_t>(axis);
}

Shape joined(const Shape& x, size_t axis, const Shape& between) {
    const auto cut = x.begin() + static_cast<ptrdiff_t>(axis);
    Shape shape(x.begin(), cut);
    shape.insert(shape.end(), between.begin(), between.end());
    shape.insert(shape.end(), cut + 1, x.end());
    return shape;
}

void check_take(const Node& node) {
    check_indices(node, 1);
    node.require(node.x_type() == node.y_type(), "its values are of different types");
    node.require(node.y() == joined(node.x(), axis_of(node), node.x(1)));
}

void check_gather(const Node& node) {
    check_indices(node, 1);
    node.require(node.x_type() == node.y_type(), "its values are of different types");
    const size_t axis = axis_of(node);
    node.require(node.y() == node.x(1), "its output is not of its indices' shape");
    node.require(node.x().size() == node.y().size());
    for (size_t i = 0; i < node.y().size(); i++)
        node.require(i == axis || node.y()[i] <= node.x()[i], "its indices reach beyond the input");
}

void check_embedding(const Node& node) {
    check_indices(node, 0);
    node.require(is(*node.layer(), LayerKind::table), "its layer is no table");
    Shape wanted = node.x();
    wanted.push_back(node.layer()->fan_in);
    node.require(node.y_type() == Number::f32 && node.y() == wanted);
}

Indices indices_along(const Node& node, const Placement& at, size_t axis) {
    return {at.x[1], {node.name() + ": index", "one of dimension " + std::to_string(axis), node.x()[axis], true}};
}

std::unique_ptr<Step> make_take(const Node& node, const Placement& at) {
    const Value &x = at.x[0], &indices = at.x[1];
    const size_t axis = axis_of(node), between = indices.shape.size();
    std::vector<size_t> x_strides(at.y.shape.size(), 0), index_strides(at.y.shape.size(), 0);
    for (size_t i = 0; i < at.y.shape.size(); i++) {
        if (i < axis) x_strides[i] = x.strides[i];
        else if (i < axis + between) index_strides[i] = indices.strides[i - axis];
        else x_strides[i] = x.strides[i + 1 - between];
    }
    return std::make_unique<ChoosingStep>(x, axis, at.y, x_strides, index_strides, indices_along(node, at, axis));
}

std::unique_ptr<Step> make_gather(const Node& node, const Placement& at) {
    const size_t axis = axis_of(node);
    std::vector<size_t> x_strides = at.x[0].strides;
    x_strides[axis] = 0;
    return std::make_unique<ChoosingStep>(at.x[0], axis, at.y, x_strides, at.x[1].strides,
                                          indices_along(node, at, axis));
}

std::unique_ptr<Step> make_embedding(const Node& node, const Placement& at) {
    Indices ids(at.x[0], {node.name() + ": id", "one of its rows", node.layer()->outputs, false});
    return std::make_unique<EmbeddingStep>(at.x[0], at.y, *node.layer(), std::move(ids));
}

}  // namespace

const std::vector<OperatorType>& indexing_operators() {
    constexpr auto none = Aliasing::none;
    constexpr auto any = Takes::any;
    constexpr auto comes = Lies::as_it_comes;
    const std::vector<SettingRule> axis = {{"axis", SettingRule::Type::whole}};
    static const std::vector<OperatorType> types = {
        {"take", 2, Has::no, Has::no, axis, any, comes, none, check_take, work_of_reading, no_layout, make_take},
        {"gather", 2, Has::no, Has::no, axis, any, comes, none, check_gather, work_of_reading, no_layout, make_gather},
        {"embedding", 1, Has::yes, Has::no, {}, any, comes, none, check_embedding, work_of_reading, no_layout,
         make_embedding},
    };
    return types;
}

}  // namespace sparbor
