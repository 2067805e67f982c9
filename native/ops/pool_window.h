// The window of a pool, whatever its numbers are: what it may be, and what it costs.
#pragma once

#include "ops/window.h"

namespace sparbor {

void check_window_pool(const Node& node);
void check_average_pool(const Node& node);
std::vector<SettingRule> average_settings();
double work_of_window(const Node& node);

}  // namespace sparbor
