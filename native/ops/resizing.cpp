// Planes that become larger or smaller: each pixel is the nearest one of the input, or is put together from two or four
// a dimension, by their distance. Positions are computed in floats, as PyTorch does.
#include <algorithm>
#include <array>
#include <cmath>

#include "ops/families.h"
#include "ops/outputs.h"

namespace sparbor {
namespace {

// For each of `count` pixels of the output along a dimension, `taps` pixels of the input and their weights: those of
// tap t from t * count on.
struct Taps {
    size_t taps, count;
    std::vector<int32_t> from;
    std::vector<float> weights;

    Taps(size_t taps, size_t count) : taps(taps), count(count), from(taps * count), weights(taps * count, 1) {}
};

// The weights of the four pixels around a position `t` beyond the second: a cubic convolution with a = -3/4.
std::array<float, 4> cubic_weights(float t) {
    constexpr float a = -0.75f;
    const auto near = [](float x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
    const auto far = [](float x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
    return {far(t + 1), near(t), near(1 - t), far(2 - t)};
}

class Positions {
public:
    // A step of 0 is the sizes' quotient.
    Positions(uint64_t input, uint64_t output, float step)
        : input(static_cast<int64_t>(input)), output(output),
          step_(step > 0 ? step : static_cast<float>(input) / static_cast<float>(output)) {}

    Taps nearest(bool centers) const {
        Taps taps(1, output);
        for (size_t i = 0; i < output; i++)
            taps.from[i] = within(std::floor((static_cast<float>(i) + (centers ? 0.5f : 0.0f)) * step_));
        return taps;
    }

    Taps linear(bool corners) const {
        Taps taps(2, output);
        for (size_t i = 0; i < output; i++) {
            const float position = std::max(0.0f, of(i, corners)), low = std::floor(position);
            taps.from[i] = within(low);
            taps.from[output + i] = within(low + 1);
            taps.weights[output + i] = std::min(1.0f, position - static_cast<float>(taps.from[i]));
            taps.weights[i] = 1 - taps.weights[output + i];
        }
        return taps;
    }

    Taps cubic(bool corners) const {
        Taps taps(4, output);
        for (size_t i = 0; i < output; i++) {
            const float position = of(i, corners), low = std::floor(position);
            const std::array<float, 4> weights = cubic_weights(position - low);
            for (size_t tap = 0; tap < 4; tap++) {
                taps.from[tap * output + i] = within(low + static_cast<float>(tap) - 1);
                taps.weights[tap * output + i] = weights[tap];
            }
        }
        return taps;
    }

private:
    float of(size_t i, bool corners) const {
        const auto place = static_cast<float>(i);
        if (!corners) return (place + 0.5f) * step_ - 0.5f;
        return output > 1 ? place * (static_cast<float>(input - 1) / static_cast<float>(output - 1)) : 0.0f;
    }
    int32_t within(float place) const {
        const auto last = static_cast<float>(input - 1);
        return static_cast<int32_t>(std::clamp(place, 0.0f, last));
    }

    int64_t input;
    size_t output;
    float step_;
};

class ResizeStep final : public Step {
public:
    ResizeStep(const Matrix& x, const Matrix& y, size_t width, Taps down, Taps across)
        : x_(x), y_(y), width_(width), down_(std::move(down)), across_(std::move(across)) {}

    void run(const Call& call) const override {
        const double taps = static_cast<double>(down_.taps + across_.taps);
        const double work = 0.4 * taps * static_cast<double>(y_.rows) * static_cast<double>(y_.columns);
        call.split(y_.rows, work, [&](size_t first, size_t last, size_t thread) {
            for (size_t i = first; i < last; i++)
                resize(*call.kernels.resizing, call.data(x_) + i * x_.stride, call.data(y_) + i * y_.stride,
                       call.scratch(thread));
        });
    }

    size_t scratch_floats() const override { return width_; }

private:
    // A row of the output is first put together from rows of the input, and then its pixels.
    void resize(const Resizing& kernels, const float* x, float* y, float* mixed) const {
        const float* before = nullptr;
        for (size_t row = 0; row < down_.count; row++, y += across_.count) {
            const float *rows[4], *source = mixed;
            float weights[4];
            for (size_t tap = 0; tap < down_.taps; tap++) {
                rows[tap] = x + static_cast<size_t>(down_.from[tap * down_.count + row]) * width_;
                weights[tap] = down_.weights[tap * down_.count + row];
            }
            if (down_.taps == 1) source = rows[0];
            else kernels.mix(rows, weights, down_.taps, mixed, width_);
            if (down_.taps == 1 && source == before) std::copy(y - across_.count, y, y);
            else kernels.pick(source, across_.from.data(), across_.weights.data(), across_.taps, y, across_.count);
            before = source;
        }
    }

    Matrix x_, y_;
    size_t width_;  // of the input's planes
    Taps down_, across_;
};

// Of values of three dimensions the height is 1.
std::array<uint64_t, 2> plane(const Shape& shape) {
    return {shape.size() == 4 ? shape[2] : 1, shape.back()};
}

void check(const Node& node) {
    const Shape &x = node.x(), &y = node.y();
    node.require(x.size() == y.size() && (x.size() == 3 || x.size() == 4), "it has no planes");
    node.require(x[0] == y[0] && x[1] == y[1], "the planes are not as many");
    for (const Shape& shape : {x, y})
        for (const uint64_t size : plane(shape)) node.require(size <= 1 << 20, "a plane is too large");
}

// How many numbers are multiplied and added for each pixel.
template <size_t taps>
double work(const Node& node) {
    return static_cast<double>(numbers_of(node.x())) + 2 * taps * static_cast<double>(numbers_of(node.y()));
}

// Each row and each column of the output has places and weights.
template <size_t taps>
LayoutCost layout(const Node& node) {
    const std::array<uint64_t, 2> to = plane(node.y());
    return {taps * (sizeof(int32_t) + sizeof(float)) * (to[0] + to[1]), 0};
}

template <class Make>
std::unique_ptr<Step> make(const Node& node, const Placement& at, const Make& make_taps) {
    const std::array<uint64_t, 2> from = plane(node.x()), to = plane(node.y());
    const Settings& settings = node.settings();
    return std::make_unique<ResizeStep>(planes_of(at.x[0]), planes_of(at.y), from[1],
                                        make_taps(Positions(from[0], to[0], settings.number("step_down"))),
                                        make_taps(Positions(from[1], to[1], settings.number("step_across"))));
}

std::unique_ptr<Step> make_nearest(const Node& node, const Placement& at) {
    const bool centers = node.settings().flag("centers");
    return make(node, at, [=](const Positions& positions) { return positions.nearest(centers); });
}

std::unique_ptr<Step> make_linear(const Node& node, const Placement& at) {
    const bool corners = node.settings().flag("corners");
    return make(node, at, [=](const Positions& positions) { return positions.linear(corners); });
}

std::unique_ptr<Step> make_cubic(const Node& node, const Placement& at) {
    const bool corners = node.settings().flag("corners");
    return make(node, at, [=](const Positions& positions) { return positions.cubic(corners); });
}

}  // namespace

const std::vector<OperatorType>& resizing_operators() {
    using Type = SettingRule::Type;
    constexpr auto none = Aliasing::none;
    constexpr auto planes = Lies::planes;
    const std::vector<SettingRule> centers = {
        {"step_down", Type::number}, {"step_across", Type::number}, {"centers", Type::flag}};
    const std::vector<SettingRule> corners = {
        {"step_down", Type::number}, {"step_across", Type::number}, {"corners", Type::flag}};
    static const std::vector<OperatorType> types = {
        {"resize_nearest", 1, Has::no, Has::no, centers, Takes::floats, planes, none, check, work<1>, layout<1>,
         make_nearest},
        {"resize_linear", 1, Has::no, Has::no, corners, Takes::floats, planes, none, check, work<2>, layout<2>,
         make_linear},
        {"resize_cubic", 1, Has::no, Has::no, corners, Takes::floats, planes, none, check, work<4>, layout<4>,
         make_cubic},
    };
    return types;
}

}  // namespace sparbor
