// Dense layers whose weights and inputs have 8 bits. Beside quads.h, whose rows of bytes they
// share, and pixels.h.
#pragma once

#include "pixels.h"
#include "quads.h"

namespace sparbor {

constexpr size_t dot_inputs = 4;  // consecutive ones, that are multiplied and added up at once

// Weights are `scale` times whole numbers from -127 to 127. They lie in panels of a group's neurons: for each four
// consecutive inputs, 64 bytes, four of each neuron. What a neuron reads are `runs` of inputs, each filled up to whole
// fours by weights of 0: all inputs of a row, or what rows or places of a convolution's kernel read.
struct DenseByteLayer {
    const int8_t* panels;
    size_t runs, fours;    // of inputs in each
    const float* scale;    // by neuron, padded to whole groups, like `bias` and `sums`
    const float* bias;
    const int32_t* sums;   // of the weights
    float clamp_min;       // as in SparseLayer
};

namespace {

// Where the weight of a neuron for an input lies in panels of so many fours; runs follow each other, filled up.
inline size_t panel_place(size_t fours, size_t neuron, size_t input) {
    const size_t four = neuron / neuron_block * fours + input / dot_inputs;
    return (four * neuron_block + neuron % neuron_block) * dot_inputs + input % dot_inputs;
}

}  // namespace

// A depthwise convolution: each channel has weights of its own. Channels come in vectors, of `DenseBytes::vector_bytes`
// each. Of a vector there are so many fours of the kernel's places, four weights of each channel, those behind the last
// place 0. `depthwise_channel` says which channel is where, and so with all that is by channel.
struct DepthwiseByteLayer {
    const int8_t* weights;
    size_t vectors, fours;
    const int32_t* sums;   // of a channel's weights
    bool threes;           // a kernel of 3 x 3, whose fours are other ones: `three_place`
};

namespace {

// Which channel of a vector's is the one at this place among the weights.
inline size_t depthwise_channel(size_t vector_bytes, size_t place) {
    const size_t quarter = vector_bytes / 4;
    return place % quarter / 4 * neuron_block + place / quarter * 4 + place % 4;
}

// Which four the weight of a row and a column of 3 x 3 belongs to, and where it is in that: a four is a column. First
// come those of the upper of two rows of outputs, whose fourth weights are 0, then those of the lower, whose first ones are.
constexpr size_t fours_of_threes = 6;
struct ThreePlace {
    size_t four, at;
};
inline ThreePlace three_place(size_t row, size_t column, size_t lower) { return {lower * 3 + column, row + lower}; }

}  // namespace

struct DenseBytes {
    // Rows of bytes that `Quads::to_bytes` made.
    void (*rows)(const DenseByteLayer&, const ByteRows&, size_t first_group, size_t last_group);
    // Pixels, whose bytes are from 0 to 255; `places` says of each run how many bytes behind the beginning of a pixel's
    // window it begins. Nothing is written beyond a pixel's outputs.
    void (*pixels)(const DenseByteLayer&, const uint32_t* places, const PixelRows&, const Requantization&,
                   size_t first_group, size_t last_group);
    // `places` says of each place of the kernel where it lies. The vectors of channels follow each other in turn for as
    // long as a pixel has outputs, or a row of pixels that is looked at as one.
    void (*depthwise)(const DepthwiseByteLayer&, const uint32_t* places, const PixelRows&, const Requantization&);
    size_t vector_bytes;
    // The share of its synapses from which a layer of quads is faster dense: docs/kernels.md.
    DenseShares faster;
    double faster_pixels;
};

}  // namespace sparbor
