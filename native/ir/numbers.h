// The numbers of a program's graph, which are doubles, as the engine's.
#pragma once

#include <cmath>
#include <limits>

namespace sparbor {

// The nearest float, or an infinity beyond all of them.
inline float as_float(double value) {
    constexpr float most = std::numeric_limits<float>::max(), infinity = std::numeric_limits<float>::infinity();
    if (std::abs(value) > most) return value > 0 ? infinity : -infinity;
    return static_cast<float>(value);
}

}  // namespace sparbor
