#include "ops/pixel_lines.h"

namespace sparbor {

PixelLines::PixelLines(const Value& floats) : offset_(floats.offset / sizeof(float)) {
    std::array<Loop, 3> loops;  // pixels, and what does not go on where those end
    size_t count = 0;
    for (size_t i = floats.shape.size(); i-- > 0;) {
        const size_t size = floats.shape[i], stride = floats.strides[i];
        if (i == 1 || size == 1) continue;
        if (count > 0 && stride == loops[count - 1].size * loops[count - 1].stride) loops[count - 1].size *= size;
        else loops[count++] = {size, stride};
    }
    outer_ = {loops[1], loops[2]};
    steps_ = {loops[0].stride, floats.strides[1], loops[0].size, floats.shape[1]};
    // The pixels of a single channel are as well the channels of one pixel.
    if (steps_.channels == 1 && steps_.pixel == 1) steps_ = {0, 1, 1, steps_.pixels};
}

}  // namespace sparbor
