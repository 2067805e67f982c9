// Convolutions of bytes that lie channels last: what their kernels are given and offer. Beside kernels.h.
//
// The channels of a pixel lie one after another, and so do the pixels of a row. So what a row of the kernel reads is one
// run of bytes, and that of the next pixel begins a few bytes further.
#pragma once

#include "kernels.h"

namespace sparbor {

// Some rows of a convolution's outputs, of as many pixels each: where the window of the first begins, where its
// channels go, and how many bytes lie between one pixel and the next, and between rows of them. `residual`, which is
// added, lies as y does; it may be null. 64 bytes behind the last one are readable, of x and of the residual.
struct PixelRows {
    const uint8_t* x;
    size_t x_pixel, x_row;
    uint8_t* y;
    const uint8_t* residual;
    size_t y_pixel, y_row;
    size_t rows, columns;
};

// What becomes of a sum, which is a whole number:
//     real = sum * multiplier + shift  (+ (residual's byte - residual_zero) * residual_step)
// in steps of y's bytes; then, if there is a map, real = map(real * step) / step, where NaN becomes 0; and
//     byte = round(real, not below `low` nor above `high`) + zero
// All of these are floats; each operation is rounded by itself, so that all kernel sets write the same bytes.
struct Requantization {
    const float* multiplier;  // by neuron, padded to whole groups, like `shift`
    const float* shift;
    size_t outputs;
    float residual_step;
    int32_t residual_zero;
    MapKernel map;  // an activation, or null
    float a, b;     // its parameters
    float step;     // of y
    float low, high;
    int32_t zero;   // of y
};

}  // namespace sparbor
