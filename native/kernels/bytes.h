// Values of bytes that stand for numbers, (byte - zero) * step each: what their kernels are given and offer. Beside
// kernels.h, which it adds to.
//
// The bytes of planes lie as pixels, the channels of one after those of the other, and behind the last pixel a whole
// branch can be read. All arithmetic is that of floats, one rounding for each operation, so that every kernel set gives
// the same bytes: files of these kernels are compiled without fused multiply-adds.
#pragma once

#include "quads.h"

namespace sparbor {

// Floats of pixels: those of pixel p and channel c are p * pixel + c * channel numbers from the first. One of the two
// distances is 1, but where there are only few numbers.
struct PixelSteps {
    size_t pixel, channel;
    size_t pixels, channels;
};

// What becomes of a result that is computed in steps of the value that it is a number of: it is rounded to the nearest
// whole number, of two the even one, from `low` to `high`, and `zero` is added. Before that an activation may map its
// number, which is that times `step`.
struct ByteEnding {
    MapKernel map;  // or null
    float a, b;     // its parameters
    float step;
    float low, high;
    int32_t zero;
};

// Bytes of a value, and its step in steps of the result.
struct ByteOperand {
    const uint8_t* x;
    int32_t zero;
    float step;
};

// An average's operand, but for where its bytes are; `divisor` 0 stands for the window's own size, with its padding or
// without.
struct ByteAverage {
    int32_t zero;
    float step;
    float divisor;
    bool count_padding;
    ByteEnding ending;
};

struct ByteKernels {
    // The byte of a number is the whole number nearest to number / step, of two the even one, plus the zero, from 0 to
    // 255; that of NaN is the zero.
    void (*quantize)(const float* x, const PixelSteps&, const ByteRange&, uint8_t* y);
    // Nothing is written beyond the pixels.
    void (*dequantize)(const uint8_t* x, const ByteRange&, float* y, const PixelSteps&);
    // What the table has for each byte of some rows, or without a table the bytes; rows of x follow each other.
    void (*look_up)(const uint8_t* table, const uint8_t* x, size_t rows, size_t columns, uint8_t* y, size_t y_stride);
    // In the following y may be where an operand is, and lanes behind the last byte of x are readable.
    void (*add)(const ByteOperand&, const ByteOperand&, const ByteEnding&, size_t count, uint8_t* y);
    // Channels times their factors, of which there are up to a whole vector. A factor is in steps of y.
    void (*scale)(const uint8_t* x, int32_t zero, const float* factors, const ByteEnding&, size_t pixels,
                  size_t channels, uint8_t* y);
    // Windows over the pixels of an item, for some rows of those of y, which begins with the first row.
    void (*max_pool)(const Geometry&, const uint8_t* x, size_t first_row, size_t last_row, uint8_t* y);
    void (*average_pool)(const Geometry&, const ByteAverage&, const uint8_t* x, size_t first_row, size_t last_row,
                         uint8_t* y);
};

// The same kernel sets on processors that have more instructions for bytes.
#ifdef SPARBOR_X86
namespace avx512vnni { extern const ByteKernels byte_kernels; }
namespace avx2vnni { extern const ByteKernels byte_kernels; }
#endif
#ifdef SPARBOR_ARM64
namespace neondot { extern const ByteKernels byte_kernels; }
#endif

}  // namespace sparbor
