// Sums, means, products, extremes and norms along dimensions, which the output keeps with a size of 1.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/families.h"
#include "ops/loops.h"
#include "ops/number_types.h"
#include "ops/outputs.h"

namespace sparbor {
namespace {

// Of each result, how many numbers it is of.
using Finish = float (*)(float result, float count);

template <class Number>
class ReduceStep final : public Step {
public:
    // The shapes are x's with the dimensions that go as 1, and with the others as 1.
    ReduceStep(const Value& x, const Value& y, const Shape& kept, const Shape& reduced,
               const Reduction<Number>& kernels, Finish finish)
        : x_(x.offset / sizeof(Number)), y_(y.offset / sizeof(Number)), kept_(kept, {y.strides, x.strides}),
          reduced_(reduced, {x.strides}), kernels_(kernels), finish_(finish),
          numbers_(reduced_.count() * reduced_.length()) {}

    void run(const Call& call) const override {
        auto* const memory = reinterpret_cast<Number*>(call.memory());
        const auto [y_step, x_step, unused, unused2] = kept_.steps();
        const bool in_rows = y_step == 1 && x_step == 1 && reduced_.steps()[0] != 1;
        for_parts(call, kept_, 0.1 * static_cast<double>(numbers_),
                  [&, y_step = y_step, x_step = x_step](const Loops::Steps& at, size_t count) {
                      Number *y = memory + y_ + at[0], *const end = y + count * y_step;
                      const Number* x = memory + x_ + at[1];
                      if (in_rows) return columns(x, count, y);
                      if (y_step == 0) return columns(x, 1, y);
                      for (; y != end; y += y_step, x += x_step) columns(x, 1, y);
                  });
    }

private:
    // Of each of so many columns, whose first numbers lie one after another.
    void columns(const Number* x, size_t count, Number* y) const {
        constexpr size_t most = 256;
        Number more[most];
        for (size_t done = 0; done < count; done += most) {
            const size_t some = std::min(most, count - done);
            for (size_t i = 0; i < reduced_.count(); i++) {
                Number* const to = i == 0 ? y + done : more;
                compute(x + done + reduced_.run(i)[0], some, to);
                if (i > 0)
                    for (size_t k = 0; k < some; k++) y[done + k] = kernels_.and_then(y[done + k], more[k]);
            }
        }
        if constexpr (std::is_same_v<Number, float>)
            if (finish_)
                for (size_t k = 0; k < count; k++) y[k] = finish_(y[k], static_cast<float>(numbers_));
    }

    void compute(const Number* x, size_t count, Number* y) const {
        const size_t step = reduced_.steps()[0], length = reduced_.length();
        if (count == 1 && step == 1) *y = kernels_.of_run(x, length);
        else kernels_.of_rows(x, step, length, count, y);
    }

    size_t x_, y_;  // in numbers
    Loops kept_, reduced_;
    const Reduction<Number>& kernels_;
    Finish finish_;
    size_t numbers_;  // of each result
};

std::vector<bool> reduced_dimensions(const Node& node) {
    const std::vector<int64_t>& axes = node.settings().list("axes");
    std::vector<bool> reduced(node.x().size(), false);
    for (size_t i = 0; i < axes.size(); i++) {
        const bool sound = axes[i] >= 0 && axes[i] < static_cast<int64_t>(reduced.size());
        node.require(sound && (i == 0 || axes[i] > axes[i - 1]), "its axes are not some of the dimensions, in order");
        reduced[static_cast<size_t>(axes[i])] = true;
    }
    node.require(!axes.empty(), "it has no axes");
    return reduced;
}

void check_shapes(const Node& node) {
    const std::vector<bool> reduced = reduced_dimensions(node);
    Shape wanted = node.x();
    for (size_t i = 0; i < wanted.size(); i++)
        if (reduced[i]) wanted[i] = 1;
    node.require(node.y() == wanted);
    node.require(node.x_type() == node.y_type(), "its values are of different types");
}

void check_numbers(const Node& node) {
    check_shapes(node);
    node.require(is_arithmetic(node.x_type()), "its numbers are not f32, i32 or i64");
}

void check_extremes(const Node& node) {
    check_shapes(node);
    node.require(is_arithmetic(node.x_type()) || node.x_type() == Number::boolean,
                 "its numbers are not f32, i32, i64 or bool");
}

template <class Number>
std::unique_ptr<Step> make(const Reduction<Number>* kernels, const char* name, Finish finish, const Node& node,
                           const Placement& at) {
    const std::vector<bool> is_reduced = reduced_dimensions(node);
    Shape kept = node.x(), reduced = node.x();
    for (size_t i = 0; i < kept.size(); i++) (is_reduced[i] ? kept : reduced)[i] = 1;
    for (const Reduction<Number>* each = kernels; each->name; each++)
        if (std::strcmp(name, each->name) == 0)
            return std::make_unique<ReduceStep<Number>>(at.x[0], at.y, kept, reduced, *each, finish);
    throw std::logic_error(std::string("no reduction named ") + name);
}

std::unique_ptr<Step> make_typed(const char* name, const Node& node, const Placement& at) {
    const Reductions& all = *at.kernels.reductions;
    if (node.y_type() == Number::boolean) return make(all.bytes, name, nullptr, node, at);
    if (node.y_type() == Number::i32) return make(all.wholes, name, nullptr, node, at);
    if (node.y_type() == Number::i64) return make(all.long_wholes, name, nullptr, node, at);
    return make(all.floats, name, nullptr, node, at);
}

std::unique_ptr<Step> make_sum(const Node& node, const Placement& at) { return make_typed("sum", node, at); }
std::unique_ptr<Step> make_max(const Node& node, const Placement& at) { return make_typed("max", node, at); }
std::unique_ptr<Step> make_min(const Node& node, const Placement& at) { return make_typed("min", node, at); }
std::unique_ptr<Step> make_product(const Node& node, const Placement& at) { return make_typed("product", node, at); }

std::unique_ptr<Step> make_mean(const Node& node, const Placement& at) {
    return make(at.kernels.reductions->floats, "sum", [](float sum, float count) { return sum / count; }, node, at);
}

std::unique_ptr<Step> make_l2(const Node& node, const Placement& at) {
    return make(at.kernels.reductions->floats, "squares", [](float sum, float) { return std::sqrt(sum); }, node, at);
}

OperatorType row(const char* name, Takes takes, void (*check)(const Node&),
                 std::unique_ptr<Step> (*make)(const Node&, const Placement&)) {
    const std::vector<SettingRule> axes = {{"axes", SettingRule::Type::list}};
    return {name, 1, Has::no, Has::no, axes, takes, Lies::as_it_comes, Aliasing::none, check, work_of_reading, no_layout,
            make};
}

}  // namespace

const std::vector<OperatorType>& reduction_operators() {
    static const std::vector<OperatorType> types = {
        row("reduce_sum", Takes::any, check_numbers, make_sum),
        row("reduce_mean", Takes::floats, check_shapes, make_mean),
        row("reduce_max", Takes::any, check_extremes, make_max),
        row("reduce_min", Takes::any, check_extremes, make_min),
        row("reduce_product", Takes::any, check_numbers, make_product),
        row("reduce_l2", Takes::floats, check_shapes, make_l2),
    };
    return types;
}

}  // namespace sparbor
