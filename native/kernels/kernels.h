// What a kernel set is given and what it offers.
//
// Every file under kernels/ is compiled with flags of its own, so none may share inline code with another: a function
// compiled for AVX-512 could be the one the linker keeps for everybody. They include this header, intrinsics, and
// headers beside it, whose names have no linkage: vectors.h, rows.h, products.h and so on.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sparbor {

// In a namespace without a name each file has a function of its own, compiled with its own flags.
namespace {

constexpr size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

constexpr size_t neuron_block = 16;   // neurons that share a slot
constexpr size_t branch_size = 32;  // consecutive inputs that a synapse's index chooses from

// `branches` branches of one group that all have `slots` slots.
struct Run {
    uint16_t slots;
    uint16_t branches;
};

// Where a group's data begin in the layer's arrays.
struct NeuronBlock {
    uint64_t slot;
    uint32_t branch;
    uint32_t run;
    uint32_t runs;
    bool normal;  // its neurons' words are normal halves: not padding, not subnormal, not zero
};

// How synapses are stored: as 16-bit words, of which 0x0000 is padding; or as floats and an index byte each, of which
// 0x80 is padding. And dense weights: floats, or halves, none of which is infinite or NaN. Whoever chooses by one of
// these does so by a switch, which does not compile if it knows not all of them.
enum class SynapseType { word16, exact };
enum class WeightType { floats, halves };

struct WeightArray {
    WeightType type;
    const void* numbers;
};

namespace {

// Calls use(numbers), by a pointer to what they are.
template <class Use>
auto with_numbers(const WeightArray& weights, const Use& use) {
    switch (weights.type) {
        case WeightType::floats: return use(static_cast<const float*>(weights.numbers));
        case WeightType::halves: break;
    }
    return use(static_cast<const uint16_t*>(weights.numbers));
}

}  // namespace

// A packed sparse layer. A slot is 16 synapses, one a neuron.
struct SparseLayer {
    const NeuronBlock* groups;
    const Run* runs;
    const uint16_t* branches;
    SynapseType type;
    const void* synapses;     // words or floats
    const uint8_t* indices;   // beside floats
    const float* scale;       // by neuron, padded to whole groups, like `bias`
    const float* bias;
    float clamp_min;          // results are not less than this: 0 for ReLU, -infinity for none
    bool padded;              // some neuron has padding: those synapses must not touch their input
};

namespace {

inline const uint16_t* words_of(const SparseLayer& layer) { return static_cast<const uint16_t*>(layer.synapses); }
inline const float* weights_of(const SparseLayer& layer) { return static_cast<const float*>(layer.synapses); }

}  // namespace

// A dense layer: for each group, fan_in times 16 weights.
struct DenseLayer {
    WeightArray panels;
    const float* scale;
    const float* bias;
    size_t fan_in;
    float clamp_min;
};

// Rows of inputs and of outputs; strides in floats. Inputs are readable up to a whole branch, outputs writable up to
// a whole group.
struct Rows {
    const float* x;
    size_t x_stride;
    float* y;
    size_t y_stride;
    size_t count;
};

// A convolution or a pooling window over planes; of the padding, what lies above and to the left may be negative.
// What lies between the inputs of an upsampled plane, or outside of it, is zero.
struct Geometry {
    int64_t channels, height, width;
    int64_t out_channels, out_height, out_width;
    int64_t kernel_h, kernel_w, stride_h, stride_w;
    int64_t pad_top, pad_left, pad_bottom, pad_right;
    int64_t dilation_h, dilation_w;
    int64_t groups;
    int64_t upsample_h, upsample_w;
};

using SparseKernel = void (*)(const SparseLayer&, const Rows&, size_t first_group, size_t last_group);
using DenseKernel = void (*)(const DenseLayer&, const Rows&, size_t first_group, size_t last_group);

// An element-wise function in place; `a` and `b` are its parameters, where it has any.
using MapKernel = void (*)(float* values, size_t count, float a, float b);

struct NamedMap {
    const char* name;
    size_t parameters;  // how many of `a` and `b` it has
    MapKernel map;
};

// Of two rows of numbers a third, not less than `clamp_min`.
using PairKernel = void (*)(const float* left, const float* right, float* y, size_t count, float clamp_min);

struct NamedPair {
    const char* name;
    PairKernel both, left_is_one, right_is_one;  // whether each has as many numbers as the third
};

struct Elementwise {
    const NamedMap* maps;  // the activations, up to one without a name
    void (*scale_shift)(const float* x, const float* scale, const float* shift, float* y, size_t count);
    void (*scale_shift_all)(const float* x, float scale, float shift, float* y, size_t count);
    void (*from_bytes)(const uint8_t* x, float scale, float shift, float* y, size_t count);
    void (*from_halves)(const uint16_t* x, float scale, float* y, size_t count);  // of which none is infinite or NaN
};

// What is computed of whole rows; `y` may be `x`.
struct Norms {
    float (*sum)(const float* x, size_t count);
    float (*squares)(const float* x, float mean, size_t count);  // the sum of (x - mean)²
    // (x - mean) / sqrt(variance + epsilon), times `scale` and plus `shift` where they are not null.
    void (*layer_norm)(const float* x, const float* scale, const float* shift, float epsilon, float* y, size_t count);
    // x / sqrt(mean of x² + epsilon), likewise.
    void (*rms_norm)(const float* x, const float* scale, const float* shift, float epsilon, float* y, size_t count);
    void (*softmax)(const float* x, float* y, size_t count);
    void (*log_softmax)(const float* x, float* y, size_t count);
};

// How many numbers become one. Partial results of one value can be put together: `and_then` of two of them is one.
template <class Number>
struct Reduction {
    const char* name;
    // Of a run.
    Number (*of_run)(const Number* x, size_t count);
    // Of each of `columns` columns, whose numbers are `stride` apart, to y.
    void (*of_rows)(const Number* x, size_t stride, size_t rows, size_t columns, Number* y);
    Number (*and_then)(Number left, Number right);
};

// Those that there are, up to one without a name; of bytes for what is true or false.
struct Reductions {
    const Reduction<float>* floats;
    const Reduction<int32_t>* wholes;
    const Reduction<int64_t>* long_wholes;
    const Reduction<uint8_t>* bytes;
};

// Rows of planes that become larger or smaller.
struct Resizing {
    // The sum of `taps` rows, each times its weight.
    void (*mix)(const float* const* rows, const float* weights, size_t taps, float* y, size_t count);
    // y[i] is the sum over the taps t of x[from[t * count + i]] * weights[t * count + i].
    void (*pick)(const float* x, const int32_t* from, const float* weights, size_t taps, float* y, size_t count);
};

// What is done to the scores of attention: nothing; those whose flag is 0 are hidden; or each has a number added to it.
enum class MaskType { none, flags, floats };

// Some queries of attention, which look at the same keys: for each a pointer to its numbers, to its row of the mask and to
// its result. Strides are in numbers, from one key to the next.
struct AttentionBlock {
    size_t queries, depth, value_depth;
    const float* const* q;
    const float* k;
    size_t k_stride;
    const float* v;
    size_t v_stride;
    const size_t* seen;  // for each query how many of the keys, from the first on, it may look at
    float scale;
    MaskType mask_type;
    const void* const* mask;  // a number for each key
    float* const* y;  // nothing is written beyond the value_depth numbers
    float* scratch;
};

struct Attention {
    size_t queries;  // at most so many at once
    size_t (*scratch_floats)(size_t depth, size_t value_depth);
    // Whether any query has a key that is not hidden; the results of those that have none are zeros. Scores below -1e37
    // are hidden.
    bool (*run)(const AttentionBlock&);
};

// One step of one item: n cells. Of each gate n numbers: what the input makes of it, and what the state before does, over
// which it is computed. Of that state each kind reads what it needs.
using CellKernel = void (*)(const float* x, float* gates, const float* before, const float* cell, float* y, size_t n);

struct Cells { CellKernel lstm, gru, elman, elman_relu; };

// A product of two matrices: rows of `depth` numbers times `depth` rows of columns, of which each sixteen begin `block`
// numbers after those before. Results are written up to a whole sixteen columns, and the right matrix is read as far.
struct Product {
    size_t rows, depth, columns;
    const float* x;
    size_t x_row, x_next;  // from one row to the next, and within a row
    const float* y;
    size_t y_next, y_block;
    float* to;
    size_t to_stride;
};

struct Products {
    void (*multiply)(const Product&);
    // Turns a right matrix whose numbers of one column lie side by side, `stride` from one column to the next, into blocks
    // of sixteen columns, depth times sixteen numbers each; columns that there are not are zeros.
    void (*pack_columns)(const float* y, size_t stride, size_t depth, size_t columns, float* to);
    // Number c of row r of x becomes number r of row c of y; nothing is written beyond. Any four bytes will do as numbers.
    void (*turn_rows)(const float* x, size_t x_stride, size_t rows, size_t columns, float* y, size_t y_stride);
};

// The columns of a tile are the rows of a batch or the pixels of a plane, sixteen to a lane group.
constexpr size_t column_tile = 16;

// Where the columns of each input lie: `count` times column_tile floats from data + offsets[input], or without offsets
// from data + input * step. There are offsets for whole branches. As many zeros lie at `zeros`, for layers with
// padding. What one chunk of branches, 2^chunk_shift of them, reads for a few columns fits into a first cache; there
// are at most most_chunks.
struct PackedInput {
    const float* data;
    const uint32_t* offsets;  // else null
    uint32_t step;
    uint32_t zeros;
    size_t count;
    uint32_t chunk_shift;
    size_t columns;  // that count for something; the last lane group may have more
};
constexpr size_t most_chunks = 64;

// Where results go: those of neuron n, for `neurons` of them, to y + n * stride.
struct Tile {
    float* y;
    size_t stride;
    size_t neurons;
};

// Synapses of a slot, decoded.
struct Synapses {
    float weights[neuron_block];
    uint32_t offsets[neuron_block];
};

// Groups that share a chunk while it is in a first cache, and floats for the sums that wait there for the next one.
constexpr size_t most_groups = 4, widest_block = 4 * column_tile;
constexpr size_t waiting_sums = most_groups * neuron_block * widest_block;

// A dense layer over columns: for each block of outputs, fan_in times as many weights. Scale and bias are padded to
// whole blocks.
struct DenseBlocks {
    WeightArray weights;
    const float* scale;
    const float* bias;
    size_t block;             // Columns::block or Outputs::block, or 1
    size_t fan_in;
    float clamp_min;
};

// Layers over many columns at once; a synapse is one multiply-add of its weight and sixteen columns.
struct Columns {
    size_t block;  // outputs that `dense` computes at once
    // Up to most_groups of them; `waiting` has room for waiting_sums, `decoded` for their slots.
    void (*sparse)(const SparseLayer&, size_t first_group, size_t groups, const PackedInput&, const Tile&,
                   float* waiting, Synapses* decoded);
    // One block; `decoded` has room for its weights and up to a whole vector.
    void (*dense)(const DenseBlocks&, size_t block, const PackedInput&, const Tile&, float* decoded);
    // Rows as columns: `columns` floats for each input, of which the last may be zeros, and then a row of zeros.
    void (*to_packed)(const Rows&, size_t fan_in, size_t columns, float* packed);
    // A group's results, `stride` floats for each neuron, as rows.
    void (*to_rows)(const float* tile, size_t stride, float* y, size_t y_stride, size_t rows);
};

// Dense layers whose lanes are outputs. Columns need not come in whole lane groups, but results are written in them.
struct Outputs {
    size_t block;    // outputs that are computed at once
    size_t results;  // floats that `dense` needs for them
    double cost;     // of a multiply-add, where it takes 1 if the lanes are columns
    double transposing;  // of a result, in multiply-adds
    void (*dense)(const DenseBlocks&, size_t block, const PackedInput&, const Tile&, float* results);
};

// One output of a depthwise convolution: its weights by row and column of the kernel.
struct DepthwisePlane {
    const Geometry* geometry;
    const float *x, *weights;
    float scale, bias, clamp_min;
    float* y;  // nothing is written beyond its pixels
};
using DepthwiseKernel = void (*)(const DepthwisePlane&);

// One copy of a plane: its row r and column c are the (padded, upsampled) plane's row + r · stride_h and
// column + c · stride_w.
struct Shift {
    int64_t row, column;
};

// Sixteen floats of a copy: where in the plane each comes from, or -1 for zero.
struct Gather {
    int32_t from[16];
    uint32_t mask;  // of those that are not zero
    enum Kind : uint32_t { anywhere, near, in_order } kind;
    int32_t base;  // near: all lie within the 32 floats from here; in order: the i-th lies i floats from here
};

struct Planes {
    // `rows` rows of `pitch` floats, of which out_width count.
    void (*shift)(const Geometry&, const float* plane, Shift, size_t rows, size_t pitch, float* to);
    // The same by a table, for `channels` planes at once.
    void (*gather)(const Gather* table, size_t count, const float* planes, size_t stride, size_t channels, float* to,
                   size_t to_stride);
    // Rows of `pitch` floats become rows of `width` floats.
    void (*narrow)(const float* rows, size_t pitch, size_t width, size_t count, float* to);
};

// Pools of one plane.
struct Pools {
    void (*max_pool)(const Geometry&, const float* plane, float* y);
    // `divisor` 0 stands for the window's own size, with its padding or without.
    void (*average_pool)(const Geometry&, const float* plane, float* y, bool count_padding, float divisor);
    void (*adaptive_max)(const Geometry&, const float* plane, float* y);
    void (*adaptive_average)(const Geometry&, const float* plane, float* y);
};

// Rows of a plane's tiles of 2 x 2 outputs, `columns` tiles each.
struct TileRows {
    size_t first, count, columns;
};
constexpr size_t winograd_lines = 8;  // that a plane's rows become
namespace {

// Floats of one, for so many tiles in rows of `columns`: a row and a lane group more.
constexpr size_t winograd_line(size_t tiles, size_t columns) {
    return round_up(round_up(tiles, column_tile) + columns + column_tile, column_tile);
}

}  // namespace

// A convolution's inputs and outputs, a plane at a time, to and from Winograd's tiles: 16 numbers each, `stride` apart.
// A kernel is 3 x 3 with stride 1.
struct Winograd {
    // Nine rows of `count` weights, whole lane groups, become 16 rows.
    void (*weights)(const WeightArray& weights, size_t count, float* to);
    void (*input)(const Geometry&, const float* plane, TileRows, float* lines, float* to, size_t to_stride);
    // Not less than `clamp_min`; `y` is the whole plane.
    void (*output)(const Geometry&, const float* products, size_t stride, TileRows, float clamp_min, float* lines,
                   float* y);
};

// Synapses of a layer in training, each with a weight of its own: of row r those from firsts[r] to ends[r].
struct SynapseRows {
    const uint32_t* firsts;
    const uint32_t* ends;
    const uint32_t* inputs;     // the row of x that each reads
    const uint32_t* positions;  // where in the weights each one's lies; null: at its own number
};

// y[r] = bias[r] + the sum over the synapses k of row r of weight k times x[inputs[k]], each a row of `columns`
// numbers, whole lane groups; and the same for further pixels. Strides are in numbers.
template <class Real>
struct SumOf {
    const Real* weights;
    const Real* bias;  // else null
    bool goes_on;      // from what y is; the bias is in it
    const Real* x;
    size_t x_stride, x_pixel;
    Real* y;
    size_t y_stride, y_pixel;
    size_t columns, pixels;
};

// To the gradient of each synapse k of row r is added the dot product of x[inputs[k]] and y[r]: of `columns` numbers,
// and as many for each further pixel.
template <class Real>
struct DotsOf {
    Real* gradients;
    const Real* x;
    size_t x_stride, x_pixel;
    const Real* y;
    size_t y_stride, y_pixel;
    size_t columns, pixels;
};

// Kernels for the rows from `first` to `last`.
struct Training {
    void (*sum)(const SynapseRows&, const SumOf<float>&, size_t first, size_t last);
    void (*sum_doubles)(const SynapseRows&, const SumOf<double>&, size_t first, size_t last);
    void (*add_dots)(const SynapseRows&, const DotsOf<float>&, size_t first, size_t last);
    void (*add_dots_of_doubles)(const SynapseRows&, const DotsOf<double>&, size_t first, size_t last);
};

// `numbers` of each of `count` items, item_stride apart, to lanes: those with the same number go `stride` after those
// of the number before. There are column_tile lanes, of which those without an item become zeros. And back.
template <class Real>
using ToBatchLayout = void (*)(const Real* items, size_t item_stride, size_t count, size_t numbers, Real* lanes,
                         size_t stride);
template <class Real>
using ToItems = void (*)(const Real* lanes, size_t stride, size_t count, size_t numbers, Real* items,
                         size_t item_stride);

struct BatchLayout {
    ToBatchLayout<float> to_batch_layout;
    ToBatchLayout<double> to_batch_layout_of_doubles;
    ToItems<float> to_items;
    ToItems<double> to_items_of_doubles;
};

struct Ranking;
struct Quads;

// The share of their synapses from which layers are faster dense: over few rows or pixels, and over many.
struct DenseShares {
    double few, many;
};

struct KernelSet {
    const char* name;
    SparseKernel sparse;
    size_t worth_columns;  // from so many rows on, columns are faster than `sparse`: the largest number for never
    DenseKernel dense;
    const Columns* columns;
    const Outputs* outputs;
    DepthwiseKernel (*find_depthwise)(const Geometry&);  // null if there is none
    const Planes* planes;
    const Pools* pools;
    const Winograd* winograd;
    const Elementwise* elementwise;
    const NamedPair* pairs;  // the operators of two values, up to one without a name
    const Norms* norms;
    const Reductions* reductions;
    const Resizing* resizing;
    const Training* training;
    const BatchLayout* batch_layout;
    const Ranking* ranking;  // ranks.h
    const Attention* attention;
    const Cells* cells;
    const Products* products;
    const Quads* quads;  // 8-bit layers: quads.h
    DenseShares linear, convolution, tiled_convolution;  // as measured: docs/kernels.md
};

// What every set has by the same name, in the order of KernelSet.
#define SPARBOR_SHARED_KERNELS \
    dense_rows, &columns, &outputs, find_depthwise, &planes, &pools, &winograd, &elementwise, pairs, &norms, \
        &reductions, &resizing, &training, &batch_layout, &ranking, &attention, &cells, &products, &quads

#define SPARBOR_KERNEL_SET(name)              \
    namespace name {                          \
    extern const KernelSet kernels;           \
    void dense_rows(const DenseLayer&, const Rows&, size_t first_group, size_t last_group);  \
    extern const Columns columns; extern const Outputs outputs; \
    DepthwiseKernel find_depthwise(const Geometry&);  \
    extern const Planes planes; extern const Pools pools; \
    extern const Winograd winograd; extern const Elementwise elementwise; \
    extern const NamedPair pairs[]; extern const Norms norms; extern const Reductions reductions; \
    extern const Resizing resizing;           \
    extern const Training training; extern const BatchLayout batch_layout; \
    extern const Ranking ranking;             \
    extern const Attention attention; extern const Cells cells; \
    extern const Products products; extern const Quads quads; \
    }
SPARBOR_KERNEL_SET(portable)
#ifdef SPARBOR_X86
SPARBOR_KERNEL_SET(avx2)
SPARBOR_KERNEL_SET(avx512)
#endif
#ifdef SPARBOR_ARM64
SPARBOR_KERNEL_SET(neon)
#endif

}  // namespace sparbor
