#include "ops/window.h"

#include <algorithm>

namespace sparbor {
namespace {

constexpr int64_t largest_step = 1 << 16;
constexpr int64_t largest_padded = 1 << 26;  // numbers of all planes of one item, padding included

// Of the plane with what lies between its pixels and around them.
int64_t padded_size(const Window& window, const PlaneShape& planes, size_t axis) {
    return (planes.size[axis] - 1) * window.upsample[axis] + 1 + window.padding[axis] + window.padding[axis + 2];
}

// From the first place of the window to its last.
int64_t travel(const Window& window, const PlaneShape& planes, size_t axis) {
    return padded_size(window, planes, axis) - window.dilation[axis] * (window.kernel[axis] - 1) - 1;
}

int64_t floor_div(int64_t value, int64_t divisor) { return value / divisor - (value % divisor < 0); }

bool in_bounds(const Window& window) {
    bool inside = true;
    for (const auto* pair : {&window.kernel, &window.stride, &window.dilation, &window.upsample})
        for (const int64_t step : *pair) inside &= step >= 1 && step <= largest_step;
    for (const int64_t side : window.padding) inside &= side >= -largest_step && side <= largest_step;
    return inside;
}

}  // namespace

const std::vector<SettingRule>& window_settings() {
    using Type = SettingRule::Type;
    static const std::vector<SettingRule> rules = {{"kernel", Type::pair},   {"stride", Type::pair},
                                                   {"padding", Type::sides}, {"dilation", Type::pair},
                                                   {"upsample", Type::pair}, {"groups", Type::whole}};
    return rules;
}

Window window_of(const Settings& settings) {
    return {settings.pair("kernel"),   settings.pair("stride"),   settings.sides("padding"),
            settings.pair("dilation"), settings.pair("upsample"), settings.whole("groups")};
}

bool has_planes(const Shape& shape) { return shape.size() == 3 || shape.size() == 4; }

PlaneShape plane_shape(const Shape& shape) {
    const auto at = [&](size_t i) { return static_cast<int64_t>(shape[i]); };
    return shape.size() == 4 ? PlaneShape{at(1), {at(2), at(3)}} : PlaneShape{at(1), {1, at(2)}};
}

void check_window(const Node& node, const Window& window) {
    const auto text = [](int64_t number) { return std::to_string(number); };
    if (!in_bounds(window))
        node.refuse("its steps are not between 1 and " + text(largest_step) + ", or its padding is beyond that");
    if (!has_planes(node.x()) || node.y().size() != node.x().size())
        node.refuse("it goes from " + std::to_string(node.x().size()) + " to " + std::to_string(node.y().size()) +
                    " dimensions, not from 3 or 4 to as many");
    node.require(node.x()[0] == node.y()[0], "it changes the number of items");
    const PlaneShape from = plane_shape(node.x()), to = plane_shape(node.y());
    if (window.groups < 1 || from.channels % window.groups != 0 || to.channels % window.groups != 0)
        node.refuse("its " + text(window.groups) + " groups do not divide " + text(from.channels) + " and " +
                    text(to.channels) + " channels");
    const int64_t height = padded_size(window, from, 0), width = padded_size(window, from, 1);
    if (height < 1 || width < 1 || height > largest_padded / from.channels / width)
        node.refuse("its padded planes, " + text(from.channels) + " x " + text(height) + " x " + text(width) +
                    ", are empty or beyond " + text(largest_padded) + " numbers");
}

int64_t steps(const Window& window, const PlaneShape& planes, size_t axis) {
    return floor_div(travel(window, planes, axis), window.stride[axis]) + 1;
}

int64_t steps_with_a_last(const Window& window, const PlaneShape& planes, size_t axis) {
    const int64_t stride = window.stride[axis];
    return std::min(-floor_div(-travel(window, planes, axis), stride) + 1,
                    -floor_div(-(window.padding[axis] + planes.size[axis]), stride));
}

std::string pixels_text(const Window& window, const PlaneShape& planes) {
    return to_text(
        Shape{static_cast<uint64_t>(steps(window, planes, 0)), static_cast<uint64_t>(steps(window, planes, 1))});
}

Geometry geometry_of(const Node& node, const Window& w) {
    const PlaneShape x = plane_shape(node.x()), y = plane_shape(node.y());
    return {x.channels,    x.size[0],     x.size[1],     y.channels,    y.size[0],     y.size[1],     w.kernel[0],
            w.kernel[1],   w.stride[0],   w.stride[1],   w.padding[0],  w.padding[1],  w.padding[2],  w.padding[3],
            w.dilation[0], w.dilation[1], w.groups,      w.upsample[0], w.upsample[1]};
}

}  // namespace sparbor
