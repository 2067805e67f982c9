// Scales and shifts by feature or by channel, as batch norms become; layer norms and softmax over rows.
#include <cstring>

#include "encodings/encoding.h"
#include "ops/families.h"
#include "ops/outputs.h"

namespace sparbor {
namespace {

// Runs row(x, y, number of the row, kernels) for each row.
template <class Row>
void run_each_row(const Call& call, const Matrix& x, const Matrix& y, const Row& row) {
    split_rows(call, x, [&](size_t first, size_t last, size_t) {
        for (size_t i = first; i < last; i++)
            row(call.data(x) + i * x.stride, call.data(y) + i * y.stride, i, *call.kernels.elementwise);
    });
}

class ScaleShift final : public Step {
public:
    ScaleShift(const Matrix& x, const Matrix& y, const Layer& layer)
        : x_(x), y_(y), scale_(layer.data<float>("scale")), shift_(layer.data<float>("shift")) {}

    void run(const Call& call) const override {
        run_each_row(call, x_, y_, [&](const float* x, float* y, size_t, const Elementwise& kernels) {
            kernels.scale_shift(x, scale_, shift_, y, x_.columns);
        });
    }

private:
    Matrix x_, y_;
    const float *scale_, *shift_;
};

// One scale and shift a channel, for the planes of all items.
class ChannelScaleShift final : public Step {
public:
    ChannelScaleShift(const Matrix& x, const Matrix& y, const Layer& layer)
        : x_(x), y_(y), scale_(layer.data<float>("scale")), shift_(layer.data<float>("shift")) {}

    void run(const Call& call) const override {
        run_each_row(call, x_, y_, [&](const float* x, float* y, size_t row, const Elementwise& kernels) {
            const size_t channel = row % x_.item_rows;
            kernels.scale_shift_all(x, scale_[channel], shift_[channel], y, x_.columns);
        });
    }

private:
    Matrix x_, y_;
    const float *scale_, *shift_;
};

class LayerNorm final : public Step {
public:
    LayerNorm(const Matrix& x, const Matrix& y, const Layer* layer,
              float epsilon)  // without a layer, nothing is scaled or shifted
        : x_(x),
          y_(y),
          scale_(layer ? layer->data<float>("scale") : nullptr),
          shift_(layer ? layer->data<float>("shift") : nullptr),
          epsilon_(epsilon) {}

    void run(const Call& call) const override {
        run_each_row(call, x_, y_, [&](const float* x, float* y, size_t, const Elementwise& kernels) {
            kernels.layer_norm(x, scale_, shift_, epsilon_, y, x_.columns);
        });
    }

private:
    Matrix x_, y_;
    const float *scale_, *shift_;
    float epsilon_;
};

class Softmax final : public Step {
public:
    Softmax(const Matrix& x, const Matrix& y) : x_(x), y_(y) {}

    void run(const Call& call) const override {
        run_each_row(call, x_, y_, [&](const float* x, float* y, size_t, const Elementwise& kernels) {
            if (x != y) std::memcpy(y, x, x_.columns * sizeof(float));
            kernels.softmax(y, x_.columns);
        });
    }

private:
    Matrix x_, y_;
};

bool scales(const Layer& layer, uint64_t features) {
    return is(layer, LayerKind::scale_shift) && layer.outputs == features;
}

void check_rows(const Node& node) { node.require(node.x() == node.y() && !node.y().empty()); }

void check_scale_shift(const Node& node) {
    check_rows(node);
    const size_t axis = node.axis();
    node.require(axis == 1 || axis + 1 == node.x().size(), "it goes along neither the channels nor the last dimension");
    node.require(scales(*node.layer(), node.x()[axis]));
}

void check_layer_norm(const Node& node) {
    check_rows(node);
    node.require(!node.layer() || scales(*node.layer(), node.x().back()));
}

// Along the last dimension a row has a number for each; along the channels its numbers have one together.
std::unique_ptr<Step> make_scale_shift(const Node& node, const Placement& at) {
    if (node.axis() + 1 == node.x().size())
        return std::make_unique<ScaleShift>(rows_of(at.x[0]), rows_of(at.y), *node.layer());
    return std::make_unique<ChannelScaleShift>(planes_of(at.x[0]), planes_of(at.y), *node.layer());
}

std::unique_ptr<Step> make_layer_norm(const Node& node, const Placement& at) {
    return std::make_unique<LayerNorm>(rows_of(at.x[0]), rows_of(at.y), node.layer(),
                                       node.settings().number("epsilon"));
}

std::unique_ptr<Step> make_softmax(const Node&, const Placement& at) {
    return std::make_unique<Softmax>(rows_of(at.x[0]), rows_of(at.y));
}

}  // namespace

const std::vector<OperatorType>& normalisation_operators() {
    constexpr auto in_place = Aliasing::in_place;
    constexpr auto rows = Lies::rows;
    const std::vector<SettingRule> epsilon = {{"epsilon", SettingRule::Type::number}};
    const std::vector<SettingRule> axis = {{"axis", SettingRule::Type::whole}};
    static const std::vector<OperatorType> types = {
        {"scale_shift", 1, Has::yes, Has::no, axis, Takes::floats, Lies::by_axis, in_place, check_scale_shift,
         work_of_reading, no_layout, make_scale_shift},
        {"layer_norm", 1, Has::maybe, Has::no, epsilon, Takes::floats, rows, in_place, check_layer_norm,
         work_of_reading, no_layout, make_layer_norm},
        {"softmax", 1, Has::no, Has::no, {}, Takes::floats, rows, in_place, check_rows, work_of_reading, no_layout,
         make_softmax},
    };
    return types;
}

}  // namespace sparbor
