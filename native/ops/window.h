// How a convolution or a pool moves over its input's planes.
//
// A value of shape (items, channels, height, width) has planes; one of (items, channels, length) has planes of
// height 1.
#pragma once

#include <array>

#include "ir/operator.h"
#include "kernels/kernels.h"

namespace sparbor {

// Pairs are (down, across). `padding` is (top, left, bottom, right), of zeros for a convolution; negative, it crops.
// `upsample` u puts u - 1 zeros between two pixels of the input, before it is padded: a transposed convolution of
// stride u.
struct Window {
    std::array<int64_t, 2> kernel, stride;
    std::array<int64_t, 4> padding;
    std::array<int64_t, 2> dilation, upsample;
    int64_t groups;
};

const std::vector<SettingRule>& window_settings();
Window window_of(const Settings& settings);

struct PlaneShape {
    int64_t channels, size[2];  // height, width
};

bool has_planes(const Shape& shape);
PlaneShape plane_shape(const Shape& shape);

// Refuses a window that is out of bounds or does not fit its planes' channels.
void check_window(const Node& node, const Window& window);

// How often the window fits into a plane along an axis; and if a last window, that starts in the plane, may run over
// the edge, as in a pool with `ceil_mode`.
int64_t steps(const Window& window, const PlaneShape& planes, size_t axis);
int64_t steps_with_a_last(const Window& window, const PlaneShape& planes, size_t axis);

// "(3, 4)" of what the window's outputs are.
std::string pixels_text(const Window& window, const PlaneShape& planes);

Geometry geometry_of(const Node& node, const Window& window);

}  // namespace sparbor
