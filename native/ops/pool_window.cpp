#include "ops/pool_window.h"

namespace sparbor {

void check_window_pool(const Node& node) {
    const Window window = window_of(node.settings());
    check_window(node, window);
    const PlaneShape from = plane_shape(node.x()), to = plane_shape(node.y());
    const bool by_itself = window.groups == from.channels && to.channels == from.channels;
    node.require(by_itself && window.upsample[0] == 1 && window.upsample[1] == 1,
                 "it does not pool each channel by itself");
    for (size_t i = 0; i < 4; i++)
        node.require(window.padding[i] >= 0 && 2 * window.padding[i] <= window.kernel[i % 2],
                     "its padding is more than half its kernel, or negative");
    for (size_t axis = 0; axis < 2; axis++)
        if (to.size[axis] != steps(window, from, axis) && to.size[axis] != steps_with_a_last(window, from, axis))
            node.refuse("its outputs are " + pixels_text(window, from) + " pixels");
}

void check_average_pool(const Node& node) {
    check_window_pool(node);
    const int64_t divisor = node.settings().whole("divisor");
    const auto [down, across] = node.settings().pair("dilation");
    if (divisor < 0 || down != 1 || across != 1)
        node.refuse("it averages with divisor " + std::to_string(divisor) + " and dilation (" + std::to_string(down) +
                    ", " + std::to_string(across) + ")");
}

std::vector<SettingRule> average_settings() {
    std::vector<SettingRule> rules = window_settings();
    rules.push_back({"include_padding", SettingRule::Type::flag});
    rules.push_back({"divisor", SettingRule::Type::whole});
    return rules;
}

double work_of_window(const Node& node) {
    const auto [down, across] = node.settings().pair("kernel");
    return static_cast<double>(numbers_of(node.y())) * static_cast<double>(down * across);
}

}  // namespace sparbor
