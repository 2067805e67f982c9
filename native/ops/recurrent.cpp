// Recurrent layers: LSTM, GRU and Elman's. What the inputs of all steps make of the gates comes in, the product of a linear
// layer; step by step it is added to what the state before makes of them, the product of the operation's own layer.
#include <algorithm>

#include "ops/families.h"
#include "ops/row_product.h"

namespace sparbor {
namespace {

enum Input : size_t { gates, hidden, cell };

// How many gates each cell has, and how many numbers its state.
struct CellKind {
    size_t gates, states;
};
constexpr CellKind lstm{4, 2}, gru{3, 1}, elman{1, 1};

// Rows of a state, one for each item.
struct StateRows {
    const float* data;
    size_t stride;
};

class Recurrent final : public Step {
public:
    Recurrent(const Node& node, const Placement& at, CellKind kind, CellKernel cells, bool reverse)
        : x_(rows_of(at.x[gates])), y_(rows_of(at.y)), items_(node.y()[0]), steps_(node.y()[1]),
          units_(node.layer()->fan_in), stride_(row_stride(kind.gates * units_)), kind_(kind), cells_(cells),
          reverse_(reverse), product_(make_row_product(node, at, items_)) {
        for (size_t i = hidden; i < at.x.size(); i++) first_.push_back(rows_of(at.x[i]));
    }

    const char* way() const override { return product_->way(); }

    size_t scratch_floats() const override { return product_->scratch_floats() + items_ * stride_ + zeros(); }

    void run(const Call& call) const override {
        float* const recurrent = call.scratch() + product_->scratch_floats();
        float* const none = recurrent + items_ * stride_;
        std::fill_n(none, zeros(), 0.0f);
        StateRows before = first(call, 0, none), memory = first(call, kind_.states - 1, none);
        for (size_t i = 0; i < steps_; i++) {
            const size_t step = reverse_ ? steps_ - 1 - i : i;
            product_->run(call, {before.data, before.stride, recurrent, stride_, items_});
            const float* const x = call.data(x_) + step * x_.stride;
            float* const y = call.data(y_) + step * y_.stride;
            call.split(items_, cost_of_cell * static_cast<double>(items_ * units_), [&](size_t item, size_t last, size_t) {
                for (; item < last; item++)
                    cells_(x + item * steps_ * x_.stride, recurrent + item * stride_, before.data + item * before.stride,
                           memory.data + item * memory.stride, y + item * steps_ * y_.stride, units_);
            });
            before = {y, steps_ * y_.stride};
            memory = {y + (kind_.states - 1) * units_, before.stride};
        }
    }

private:
    static constexpr double cost_of_cell = 2;  // nanoseconds, roughly

    // A row that kernels may read as a state.
    size_t zeros() const { return round_up(units_, branch_size); }

    // What a part of the state is at first: as it is given, or zeros for all items.
    StateRows first(const Call& call, size_t part, const float* none) const {
        if (first_.empty()) return {none, 0};
        return {call.data(first_[part]), first_[part].stride};
    }

    Matrix x_, y_;
    std::vector<Matrix> first_;
    size_t items_, steps_, units_, stride_;
    CellKind kind_;
    CellKernel cells_;
    bool reverse_;
    std::unique_ptr<const RowProduct> product_;
};

template <const CellKind& kind>
void check(const Node& node) {
    check_row_layer(node);
    const Layer& layer = *node.layer();
    const uint64_t units = layer.fan_in;
    node.require(layer.outputs == kind.gates * units, "its layer has not as many outputs as its cells have gates");
    node.require(node.inputs() == 1 || node.inputs() == 1 + kind.states, "it has some of its states and not all");
    const Shape& x = node.x(gates);
    node.require(x.size() == 3 && x[2] == layer.outputs, "its input is not (items, steps, gates)");
    for (size_t i = hidden; i < node.inputs(); i++)
        node.require(node.x(i) == Shape{x[0], units}, "a state is not (items, cells)");
    node.require(node.y() == Shape{x[0], x[1], kind.states * units});
}

double work(const Node& node) {
    return work_of_rows(node, numbers_of({node.x()[0], node.x()[1]})) + work_of_reading(node);
}

template <const CellKind& kind, CellKernel Cells::*cells>
std::unique_ptr<Step> make(const Node& node, const Placement& at) {
    return std::make_unique<Recurrent>(node, at, kind, at.kernels.cells->*cells, node.settings().flag("reverse"));
}

std::unique_ptr<Step> make_elman(const Node& node, const Placement& at) {
    return (node.settings().flag("relu") ? make<elman, &Cells::elman_relu> : make<elman, &Cells::elman>)(node, at);
}

}  // namespace

const std::vector<OperatorType>& recurrent_operators() {
    using Type = SettingRule::Type;
    const std::vector<SettingRule> reverse = {{"reverse", Type::flag}};
    const std::vector<SettingRule> elmans = {{"reverse", Type::flag}, {"relu", Type::flag}};
    static const std::vector<OperatorType> types = {
        {"lstm", {1, 3}, Has::yes, Has::no, reverse, Takes::floats, Lies::rows, Aliasing::none, check<lstm>, work,
         layout_of_rows, make<lstm, &Cells::lstm>},
        {"gru", {1, 2}, Has::yes, Has::no, reverse, Takes::floats, Lies::rows, Aliasing::none, check<gru>, work,
         layout_of_rows, make<gru, &Cells::gru>},
        {"rnn", {1, 2}, Has::yes, Has::no, elmans, Takes::floats, Lies::rows, Aliasing::none, check<elman>, work,
         layout_of_rows, make_elman},
    };
    return types;
}

}  // namespace sparbor
