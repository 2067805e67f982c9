// Values that are computed of no others: constants, and numbers at equal distances.
#include "encodings/encoding.h"
#include "ops/families.h"
#include "ops/outputs.h"
#include "plan/strided_copy.h"

namespace sparbor {
namespace {

class ConstantStep final : public Step {
public:
    ConstantStep(const Tensor& tensor, const Value& y)
        : numbers_(tensor.data.data()), y_(y.offset), copy_(without_gaps(tensor.type, tensor.shape), y) {}

    void run(const Call& call) const override { copy_.run(call.kernels, numbers_, call.memory() + y_); }

private:
    const uint8_t* numbers_;
    size_t y_;
    StridedCopy copy_;
};

class RangeStep final : public Step {
public:
    RangeStep(int64_t start, int64_t step, const Value& y)
        : start_(start), step_(step), y_(y.offset), stride_(y.strides[0]), count_(y.shape[0]) {}

    void run(const Call& call) const override {
        auto* const y = reinterpret_cast<int64_t*>(call.memory() + y_);
        for (size_t i = 0; i < count_; i++) y[i * stride_] = start_ + static_cast<int64_t>(i) * step_;
    }

private:
    int64_t start_, step_;
    size_t y_, stride_, count_;
};

const Tensor& values_of(const Node& node) { return node.layer()->parts.at("values"); }

void check_constant(const Node& node) {
    node.require(is(*node.layer(), LayerKind::array), "its layer is no array");
    node.require(values_of(node).type == node.y_type(), "its layer is of another type than its output");
    node.require(values_of(node).shape == node.y(), "its layer is of another shape");
}

void check_range(const Node& node) {
    node.require(node.y_type() == Number::i64 && node.y().size() == 1, "its output is not one row of i64");
    constexpr int64_t most = int64_t{1} << 62;
    const int64_t start = node.settings().whole("start"), step = node.settings().whole("step");
    const auto last = static_cast<int64_t>(node.y()[0]) - 1;
    const bool fits = start >= -most && start <= most && step >= -most && step <= most;
    node.require(fits && (last == 0 || std::abs(step) <= most / last), "its last number is beyond i64");
}

std::unique_ptr<Step> make_constant(const Node& node, const Placement& at) {
    return std::make_unique<ConstantStep>(values_of(node), at.y);
}

std::unique_ptr<Step> make_range(const Node& node, const Placement& at) {
    return std::make_unique<RangeStep>(node.settings().whole("start"), node.settings().whole("step"), at.y);
}

}  // namespace

const std::vector<OperatorType>& array_operators() {
    using Type = SettingRule::Type;
    constexpr auto any = Takes::any;
    constexpr auto comes = Lies::as_it_comes;
    constexpr auto none = Aliasing::none;
    const std::vector<SettingRule> range = {{"start", Type::whole}, {"step", Type::whole}};
    static const std::vector<OperatorType> types = {
        {"constant", 0, Has::yes, Has::no, {}, any, comes, none, check_constant, work_of_reading, no_layout,
         make_constant},
        {"range", 0, Has::no, Has::no, range, any, comes, none, check_range, work_of_reading, no_layout, make_range},
    };
    return types;
}

}  // namespace sparbor
