// Scales and shifts by feature or by channel, as batch norms become; norms of rows and of groups of channels; softmax.
#include <cmath>

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
            row(call.data(x) + i * x.stride, call.data(y) + i * y.stride, i, call.kernels);
    });
}

class ScaleShift final : public Step {
public:
    ScaleShift(const Matrix& x, const Matrix& y, const Layer& layer)
        : x_(x), y_(y), scale_(layer.data<float>("scale")), shift_(layer.data<float>("shift")) {}

    void run(const Call& call) const override {
        run_each_row(call, x_, y_, [&](const float* x, float* y, size_t, const KernelSet& kernels) {
            kernels.elementwise->scale_shift(x, scale_, shift_, y, x_.columns);
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
        run_each_row(call, x_, y_, [&](const float* x, float* y, size_t row, const KernelSet& kernels) {
            const size_t channel = row % x_.item_rows;
            kernels.elementwise->scale_shift_all(x, scale_[channel], shift_[channel], y, x_.columns);
        });
    }

private:
    Matrix x_, y_;
    const float *scale_, *shift_;
};

using RowNorm = void (*)(const float* x, const float* scale, const float* shift, float epsilon, float* y, size_t count);

// A norm of each row by itself; without a layer nothing is scaled or shifted.
class NormOfRows final : public Step {
public:
    NormOfRows(const Matrix& x, const Matrix& y, RowNorm norm, const Layer* layer, float epsilon)
        : x_(x), y_(y), norm_(norm), scale_(layer ? layer->data<float>("scale") : nullptr),
          shift_(layer ? layer->data<float>("shift") : nullptr), epsilon_(epsilon) {}

    void run(const Call& call) const override {
        run_each_row(call, x_, y_, [&](const float* x, float* y, size_t, const KernelSet&) {
            norm_(x, scale_, shift_, epsilon_, y, x_.columns);
        });
    }

private:
    Matrix x_, y_;
    RowNorm norm_;
    const float *scale_, *shift_;
    float epsilon_;
};

using RowMap = void (*)(const float* x, float* y, size_t count);

// A softmax, or its logarithm.
class SoftmaxStep final : public Step {
public:
    SoftmaxStep(const Matrix& x, const Matrix& y, RowMap map) : x_(x), y_(y), map_(map) {}

    void run(const Call& call) const override {
        run_each_row(call, x_, y_, [&](const float* x, float* y, size_t, const KernelSet&) { map_(x, y, x_.columns); });
    }

private:
    Matrix x_, y_;
    RowMap map_;
};

// The planes of a group of channels together; each channel then has a scale and a shift.
class GroupNorm final : public Step {
public:
    GroupNorm(const Matrix& x, const Matrix& y, size_t groups, const Layer* layer, float epsilon)
        : x_(x), y_(y), groups_(groups), channels_(x.item_rows / groups),
          scale_(layer ? layer->data<float>("scale") : nullptr),
          shift_(layer ? layer->data<float>("shift") : nullptr), epsilon_(epsilon) {}

    void run(const Call& call) const override {
        const double work = 0.5 * static_cast<double>(x_.rows * x_.columns);
        call.split(x_.rows / channels_, work, [&](size_t first, size_t last, size_t) {
            for (size_t i = first; i < last; i++) normalise(call, i);
        });
    }

private:
    void normalise(const Call& call, size_t number) const {
        const Norms& norms = *call.kernels.norms;
        const float* const x = call.data(x_) + number * channels_ * x_.stride;
        float* const y = call.data(y_) + number * channels_ * y_.stride;
        const auto count = static_cast<float>(channels_ * x_.columns);
        float sum = 0, squares = 0;
        for (size_t i = 0; i < channels_; i++) sum += norms.sum(x + i * x_.stride, x_.columns);
        const float mean = sum / count;
        for (size_t i = 0; i < channels_; i++) squares += norms.squares(x + i * x_.stride, mean, x_.columns);
        const float by = 1 / std::sqrt(squares / count + epsilon_);
        for (size_t i = 0; i < channels_; i++) {
            const size_t channel = number % groups_ * channels_ + i;
            const float scale = scale_ ? by * scale_[channel] : by, shift = shift_ ? shift_[channel] : 0;
            call.kernels.elementwise->scale_shift_all(x + i * x_.stride, scale, shift - mean * scale,
                                                      y + i * y_.stride, x_.columns);
        }
    }

    Matrix x_, y_;
    size_t groups_, channels_;  // of a group
    const float *scale_, *shift_;
    float epsilon_;
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

void check_norm_of_rows(const Node& node) {
    check_rows(node);
    node.require(!node.layer() || scales(*node.layer(), node.x().back()));
}

void check_group_norm(const Node& node) {
    node.require(node.x() == node.y() && node.x().size() >= 3, "it has no planes");
    const int64_t groups = node.settings().whole("groups");
    const uint64_t channels = node.x()[1];
    node.require(groups >= 1 && channels % static_cast<uint64_t>(groups) == 0, "its groups do not divide the channels");
    node.require(!node.layer() || scales(*node.layer(), channels));
}

// Along the last dimension a row has a number for each; along the channels its numbers have one together.
std::unique_ptr<Step> make_scale_shift(const Node& node, const Placement& at) {
    if (node.axis() + 1 == node.x().size())
        return std::make_unique<ScaleShift>(rows_of(at.x[0]), rows_of(at.y), *node.layer());
    return std::make_unique<ChannelScaleShift>(planes_of(at.x[0]), planes_of(at.y), *node.layer());
}

std::unique_ptr<Step> make_layer_norm(const Node& node, const Placement& at) {
    return std::make_unique<NormOfRows>(rows_of(at.x[0]), rows_of(at.y), at.kernels.norms->layer_norm, node.layer(),
                                        node.settings().number("epsilon"));
}

std::unique_ptr<Step> make_rms_norm(const Node& node, const Placement& at) {
    return std::make_unique<NormOfRows>(rows_of(at.x[0]), rows_of(at.y), at.kernels.norms->rms_norm, node.layer(),
                                        node.settings().number("epsilon"));
}

std::unique_ptr<Step> make_group_norm(const Node& node, const Placement& at) {
    return std::make_unique<GroupNorm>(planes_of(at.x[0]), planes_of(at.y),
                                       static_cast<size_t>(node.settings().whole("groups")), node.layer(),
                                       node.settings().number("epsilon"));
}

std::unique_ptr<Step> make_softmax(const Node&, const Placement& at) {
    return std::make_unique<SoftmaxStep>(rows_of(at.x[0]), rows_of(at.y), at.kernels.norms->softmax);
}

std::unique_ptr<Step> make_log_softmax(const Node&, const Placement& at) {
    return std::make_unique<SoftmaxStep>(rows_of(at.x[0]), rows_of(at.y), at.kernels.norms->log_softmax);
}

}  // namespace

const std::vector<OperatorType>& normalisation_operators() {
    constexpr auto in_place = Aliasing::in_place;
    constexpr auto rows = Lies::rows;
    const std::vector<SettingRule> epsilon = {{"epsilon", SettingRule::Type::number}};
    const std::vector<SettingRule> groups = {{"groups", SettingRule::Type::whole}, epsilon[0]};
    const std::vector<SettingRule> axis = {{"axis", SettingRule::Type::whole}};
    static const std::vector<OperatorType> types = {
        {"scale_shift", 1, Has::yes, Has::no, axis, Takes::floats, Lies::by_axis, in_place, check_scale_shift,
         work_of_reading, no_layout, make_scale_shift},
        {"layer_norm", 1, Has::maybe, Has::no, epsilon, Takes::floats, rows, in_place, check_norm_of_rows,
         work_of_reading, no_layout, make_layer_norm},
        {"rms_norm", 1, Has::maybe, Has::no, epsilon, Takes::floats, rows, in_place, check_norm_of_rows,
         work_of_reading, no_layout, make_rms_norm},
        {"group_norm", 1, Has::maybe, Has::no, groups, Takes::floats, Lies::planes, in_place, check_group_norm,
         work_of_reading, no_layout, make_group_norm},
        {"softmax", 1, Has::no, Has::no, {}, Takes::floats, rows, in_place, check_rows, work_of_reading, no_layout,
         make_softmax},
        {"log_softmax", 1, Has::no, Has::no, {}, Takes::floats, rows, in_place, check_rows, work_of_reading, no_layout,
         make_log_softmax},
    };
    return types;
}

}  // namespace sparbor
