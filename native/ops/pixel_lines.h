// Planes of floats as lines of pixels, for kernels that take a line at a time.
#pragma once

#include <array>

#include "kernels/bytes.h"
#include "plan/value.h"

namespace sparbor {

// A line is as long as its pixels lie at equal distances, across rows, planes and items where they can. Of quantized
// values, which have no gaps, all pixels of all lines follow each other.
class PixelLines {
public:
    // Of a value of two dimensions or more, whose dimension 1 are the channels.
    explicit PixelLines(const Value& floats);

    const PixelSteps& steps() const { return steps_; }  // of each line
    size_t lines() const { return outer_[0].size * outer_[1].size; }
    size_t begin(size_t line) const {  // in floats, from the memory's first
        return offset_ + line / outer_[0].size * outer_[1].stride + line % outer_[0].size * outer_[0].stride;
    }

private:
    struct Loop {
        size_t size = 1, stride = 0;
    };
    size_t offset_;
    PixelSteps steps_;
    std::array<Loop, 2> outer_;  // from the inner one
};

}  // namespace sparbor
