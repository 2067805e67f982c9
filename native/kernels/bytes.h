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

struct ByteKernels {
    // The byte of a number is the whole number nearest to number / step, of two the even one, plus the zero, from 0 to
    // 255; that of NaN is the zero.
    void (*quantize)(const float* x, const PixelSteps&, const ByteRange&, uint8_t* y);
    // Nothing is written beyond the pixels.
    void (*dequantize)(const uint8_t* x, const ByteRange&, float* y, const PixelSteps&);
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
