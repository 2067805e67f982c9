// Layers of rows whose weights and inputs have 8 bits: what their kernels are given and offer. Beside kernels.h, which
// it adds to.
//
// A quad is 64 synapses, four of each of 16 neurons, all on one branch of 64 inputs: as many bytes as a permute of 64
// bytes fetches, and a dot product of bytes multiplies and adds up.
#pragma once

#include "kernels.h"

namespace sparbor {

constexpr size_t quad_branch = 64;    // consecutive inputs that a quad's synapses choose from
constexpr size_t quad_synapses = 4;   // of each neuron
constexpr size_t quad_bytes = neuron_block * quad_synapses;  // of indices, and of weights

// Weights are `scale` times whole numbers from -127 to 127. Padding has the weight 0 and the index 0x80.
struct QuadLayer {
    const NeuronBlock* groups;  // whose slots are quads, like those of runs
    const Run* runs;
    const uint16_t* branches;
    const uint8_t* indices;     // quad_bytes of each quad, neuron by neuron
    const int8_t* weights;
    const float* scale;         // by neuron, padded to whole groups, like `bias` and `sums`
    const float* bias;
    const int32_t* sums;        // of the weights
    float clamp_min;            // as in SparseLayer
};

// Which bytes may come: up to `levels`, as in rows that kernels round themselves; or from 0 to 255.
enum class Range { levels, bytes };

// What the bytes of a row are: x is nearly (byte - zero) * step. The step of a row that has a number which is infinite
// or NaN is NaN, so that all that is computed of it is.
struct ByteRange {
    float step;
    int32_t zero;
};

// Rows of bytes, filled up to whole branches.
struct ByteRows {
    const uint8_t* x;
    size_t x_stride;
    const ByteRange* ranges;
    float* y;
    size_t y_stride;  // in floats
    size_t count;
};

// The quads of a layer of few inputs, each group's in the order of their branches, for one row whose inputs stay in
// registers.
constexpr size_t most_row_branches = 16;
struct RowQuads {
    const uint8_t* counts;  // most_row_branches of each group: how many quads there are on each branch
    const uint8_t* quads;   // quad_bytes of indices and as many of weights, one quad after the other
    size_t branches;        // of a row, no more than that
};

// Through such a layer, `io` is one row.
using QuadRow = void (*)(const QuadLayer&, const RowQuads&, const ByteRows& io, size_t first_group, size_t last_group);

struct PixelRows;       // pixels.h
struct Requantization;  // likewise

// Quads over pixels. `places` says of each branch how many bytes behind the beginning of a pixel's window it begins.
// Inputs are bytes from 0 to 255 for every processor. Nothing is written beyond a pixel's outputs.
using QuadPixels = void (*)(const QuadLayer&, const uint32_t* places, const PixelRows&, const Requantization&,
                            size_t first_group, size_t last_group);

struct DenseBytes;  // dense_bytes.h

struct Quads {
    // A row of `count` floats as bytes, filled up to whole branches. The smallest number becomes 0 if it is negative,
    // the largest the largest byte if it is positive, and 0 a whole number. The largest byte is 255, or 127 where the
    // processor adds up products of bytes in 16 bits.
    ByteRange (*to_bytes)(const float* x, size_t count, uint8_t* bytes);
    void (*sparse)(const QuadLayer&, const ByteRows&, size_t first_group, size_t last_group);
    QuadRow row;  // faster for one row; null where there are too few registers, or no permutes of bytes
    QuadPixels pixels;
    const DenseBytes* dense;
};

// The same kernel sets on processors that have more instructions for bytes.
#ifdef SPARBOR_X86
namespace avx512vnni { extern const Quads quads; }
namespace avx2vnni { extern const Quads quads; }
#endif
#ifdef SPARBOR_ARM64
namespace neondot { extern const Quads quads; }
#endif

}  // namespace sparbor
