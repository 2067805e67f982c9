// Scales and shifts by feature or by channel, as batch norms become; layer norms and softmax over rows.
#include <cstring>

#include "encodings/encoding.h"
#include "ops/families.h"
#include "ops/outputs.h"

namespace sparbor {
namespace {

// Runs row(x, y, which row of its item, kernels) for each row.
template <class Row>
void run_each_row(const Call& call, const Value& x, const Value& y, const Row& row) {
    const size_t stride = row_stride(x.features);
    split_rows(call, x, [&](size_t first, size_t last, size_t) {
        for (size_t i = first; i < last; i++)
            row(call.data(x) + i * stride, call.data(y) + i * stride, i % x.rows, *call.kernels.elementwise);
    });
}

class ScaleShift final : public Step {
public:
    ScaleShift(Value x, Value y, const Layer& layer)
        : x_(x), y_(y), scale_(layer.data<float>("scale")), shift_(layer.data<float>("shift")) {}

    void run(const Call& call) const override {
        run_each_row(call, x_, y_, [&](const float* x, float* y, size_t, const Elementwise& kernels) {
            kernels.scale_shift(x, scale_, shift_, y, x_.features);
        });
    }

private:
    Value x_, y_;
    const float *scale_, *shift_;
};

// One scale and shift a row; rows repeat with the items.
class RowScaleShift final : public Step {
public:
    RowScaleShift(Value x, Value y, const Layer& layer)
        : x_(x), y_(y), scale_(layer.data<float>("scale")), shift_(layer.data<float>("shift")) {}

    void run(const Call& call) const override {
        run_each_row(call, x_, y_, [&](const float* x, float* y, size_t row, const Elementwise& kernels) {
            kernels.scale_shift_all(x, scale_[row], shift_[row], y, x_.features);
        });
    }

private:
    Value x_, y_;
    const float *scale_, *shift_;
};

class LayerNorm final : public Step {
public:
    LayerNorm(Value x, Value y, const Layer* layer, float epsilon)  // without a layer, nothing is scaled or shifted
        : x_(x), y_(y), scale_(layer ? layer->data<float>("scale") : nullptr),
          shift_(layer ? layer->data<float>("shift") : nullptr), epsilon_(epsilon) {}

    void run(const Call& call) const override {
        run_each_row(call, x_, y_, [&](const float* x, float* y, size_t, const Elementwise& kernels) {
            kernels.layer_norm(x, scale_, shift_, epsilon_, y, x_.features);
        });
    }

private:
    Value x_, y_;
    const float *scale_, *shift_;
    float epsilon_;
};

class Softmax final : public Step {
public:
    Softmax(Value x, Value y) : x_(x), y_(y) {}

    void run(const Call& call) const override {
        run_each_row(call, x_, y_, [&](const float* x, float* y, size_t, const Elementwise& kernels) {
            if (x != y) std::memcpy(y, x, x_.features * sizeof(float));
            kernels.softmax(y, x_.features);
        });
    }

private:
    Value x_, y_;
};

bool scales(const Layer& layer, uint64_t features) {
    return is(layer, LayerKind::scale_shift) && layer.outputs == features;
}

void check_rows(const Node& node) { node.require(node.x() == node.y() && has_rows(node.y())); }

void check_scale_shift(const Node& node) {
    check_rows(node);
    node.require(scales(*node.layer(), node.x().back()));
}

void check_channels(const Node& node) {
    node.require(node.x() == node.y() && node.x().size() > 1 && scales(*node.layer(), node.x()[0]));
}

void check_layer_norm(const Node& node) {
    check_rows(node);
    node.require(!node.layer() || scales(*node.layer(), node.x().back()));
}

std::unique_ptr<Step> make_scale_shift(const Node& node, const Placement& at) {
    return std::make_unique<ScaleShift>(at.x[0], at.y, *node.layer());
}

std::unique_ptr<Step> make_channels(const Node& node, const Placement& at) {
    return std::make_unique<RowScaleShift>(at.x[0], at.y, *node.layer());
}

std::unique_ptr<Step> make_layer_norm(const Node& node, const Placement& at) {
    return std::make_unique<LayerNorm>(at.x[0], at.y, node.layer(), node.settings().number("epsilon"));
}

std::unique_ptr<Step> make_softmax(const Node&, const Placement& at) {
    return std::make_unique<Softmax>(at.x[0], at.y);
}

}  // namespace

const std::vector<OperatorType>& normalisation_operators() {
    constexpr auto in_place = Aliasing::in_place;
    const std::vector<SettingRule> epsilon = {{"epsilon", SettingRule::Type::number}};
    static const std::vector<OperatorType> types = {
        {"affine", 1, Has::yes, Has::no, {}, in_place, check_scale_shift, work_of_reading, no_layout, make_scale_shift},
        {"channel_affine", 1, Has::yes, Has::no, {}, in_place, check_channels, work_of_reading, no_layout,
         make_channels},
        {"layer_norm", 1, Has::maybe, Has::no, epsilon, in_place, check_layer_norm, work_of_reading, no_layout,
         make_layer_norm},
        {"softmax", 1, Has::no, Has::no, {}, in_place, check_rows, work_of_reading, no_layout, make_softmax},
    };
    return types;
}

}  // namespace sparbor
