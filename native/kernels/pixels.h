// Convolutions of bytes that lie channels last: what their kernels are given and offer. Beside bytes.h.
//
// The channels of a pixel lie one after another, and so do the pixels of a row. So what a row of the kernel reads is
// one run of bytes, and that of the next pixel begins a few bytes further.
#pragma once

#include "bytes.h"

namespace sparbor {

// Some rows of a convolution's outputs, of as many pixels each: where the window of the first begins, and how many
// bytes it is from one pixel's window to the next, and from a row of them to the next. The outputs of all follow each
// other, and so does what is added to them, the residual, if it is not null. 64 bytes behind the last of x and of the
// residual are readable.
struct PixelRows {
    const uint8_t* x;
    size_t x_pixel, x_row;
    uint8_t* y;
    const uint8_t* residual;
    size_t rows, columns;
};

// What becomes of a sum, which is a whole number: it is
//     sum * multiplier + shift  (+ (residual's byte - residual_zero) * residual_step)
// in steps of y, and ends as all such results. Each operation is rounded by itself, so that all kernel sets write the
// same bytes; all results are finite.
struct Requantization : ByteEnding {
    const float* multiplier;  // by neuron, padded to whole groups, like `shift`
    const float* shift;
    size_t outputs;
    float residual_step;
    int32_t residual_zero;
};

}  // namespace sparbor
