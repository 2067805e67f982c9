// Values of which some numbers are replaced, at indices that a call gives.
#include "ops/families.h"
#include "ops/indices.h"
#include "ops/number_types.h"
#include "ops/outputs.h"
#include "plan/copy_step.h"

namespace sparbor {
namespace {

enum Input : size_t { x, updates, indices };  // an index for each dimension from the axis on

// The loops go over the updates but for the dimension of the indices, so that of two updates of one place the last one
// stays, however many threads there are.
class PutStep final : public Step {
public:
    PutStep(const std::vector<Value>& given, const Value& y, size_t axis, std::vector<Indices> places)
        : y_(y), updates_(given[updates]), count_(updates_.shape[axis]), axis_(axis),
          is_copied_(given[x].offset != y.offset || !lie_alike(given[x], y)), copy_({given[x]}, {y}),
          loops_(shape_without(axis), {y_strides(axis, places.size()), strides_without(axis)}),
          places_(std::move(places)) {
        for (size_t i = 0; i < places_.size(); i++) index_strides_.push_back(given[indices + i].strides[0]);
    }

    void run(const Call& call) const override {
        for (const Indices& each : places_) each.check(call);
        if (is_copied_) copy_.run(call);
        with_bytes(y_.type, [&](auto type) { put<typename decltype(type)::Number>(call); });
    }

private:
    template <class Number>
    void put(const Call& call) const {
        const auto* const from = reinterpret_cast<const Number*>(call.memory() + updates_.offset);
        auto* const to = reinterpret_cast<Number*>(call.memory() + y_.offset);
        const size_t to_step = loops_.steps()[0], from_step = loops_.steps()[1];
        for_parts(call, loops_, 0.5 * static_cast<double>(count_), [&](const Loops::Steps& at, size_t length) {
            for (size_t k = 0; k < count_; k++) {
                Number* const row = to + at[0] + place(call, k);
                const Number* const update = from + at[1] + k * updates_.strides[axis_];
                for (size_t i = 0; i < length; i++) row[i * to_step] = update[i * from_step];
            }
        });
    }

    // How far behind the first number of the output an update begins.
    size_t place(const Call& call, size_t update) const {
        size_t sum = 0;
        for (size_t i = 0; i < places_.size(); i++)
            sum += places_[i].at(call.memory(), update * index_strides_[i]) * y_.strides[axis_ + i];
        return sum;
    }

    Shape shape_without(size_t axis) const {
        Shape shape = updates_.shape;
        shape.erase(shape.begin() + static_cast<ptrdiff_t>(axis));
        return shape;
    }

    std::vector<size_t> strides_without(size_t axis) const {
        std::vector<size_t> strides = updates_.strides;
        strides.erase(strides.begin() + static_cast<ptrdiff_t>(axis));
        return strides;
    }

    std::vector<size_t> y_strides(size_t axis, size_t replaced) const {
        std::vector<size_t> strides = y_.strides;
        const auto first = strides.begin() + static_cast<ptrdiff_t>(axis);
        strides.erase(first, first + static_cast<ptrdiff_t>(replaced));
        return strides;
    }

    Value y_, updates_;
    size_t count_, axis_;
    bool is_copied_;
    CopyStep copy_;
    Loops loops_;
    std::vector<Indices> places_;
    std::vector<size_t> index_strides_;
};

void check_put(const Node& node) {
    node.require(node.x_type(x) == node.y_type() && node.x_type(updates) == node.y_type(),
                 "its values are of different types");
    node.require(node.x(x) == node.y());
    const size_t axis = node.axis(), replaced = node.inputs() - indices;
    node.require(axis + replaced <= node.y().size(), "it has more indices than there are dimensions");
    for (size_t i = indices; i < node.inputs(); i++) {
        const Number type = node.x_type(i);
        node.require(type == Number::i32 || type == Number::i64, "its indices are neither i32 nor i64");
        node.require(node.x(i).size() == 1 && node.x(i) == node.x(indices), "its indices are not rows, equally long");
    }
    const auto first = node.y().begin() + static_cast<ptrdiff_t>(axis);
    Shape wanted(node.y().begin(), first);
    wanted.push_back(node.x(indices)[0]);
    wanted.insert(wanted.end(), first + static_cast<ptrdiff_t>(replaced), node.y().end());
    node.require(node.x(updates) == wanted, "there is not one update for each index");
}

// What is said of an index that is none of a dimension's: a state that is written to has then no more room.
IndexRule rule_of(const Node& node, size_t dimension) {
    const std::string state = node.state(x), of = "of dimension " + std::to_string(dimension);
    const uint64_t size = node.y()[dimension];
    if (state.empty()) return {"put: index", "one " + of, size, false};
    return {"the state " + in_quotes(state) + " is full: index", "one of the " + std::to_string(size) + " " + of, size,
            false, "reset the session, or deploy a model whose state has more room"};
}

std::unique_ptr<Step> make_put(const Node& node, const Placement& at) {
    std::vector<Indices> places;
    for (size_t i = indices; i < at.x.size(); i++)
        places.emplace_back(at.x[i], rule_of(node, node.axis() + i - indices));
    return std::make_unique<PutStep>(at.x, at.y, node.axis(), std::move(places));
}

}  // namespace

const std::vector<OperatorType>& update_operators() {
    const std::vector<SettingRule> axis = {{"axis", SettingRule::Type::whole}};
    static const std::vector<OperatorType> types = {
        {"put", {3, 2 + most_dimensions}, Has::no, Has::no, axis, Takes::any, Lies::as_it_comes, Aliasing::in_first,
         check_put, work_of_reading, no_layout, make_put},
    };
    return types;
}

}  // namespace sparbor
