// Dense convolutions with a kernel of 3 x 3 and stride 1 by Winograd's F(2 x 2, 3 x 3): a tile of four outputs takes 16
// multiplications for each channel, where the direct sum takes 36.
#pragma once

#include "ops/convolution/filter_arrays.h"
#include "ops/convolution/packed_input_step.h"
#include "ops/outputs.h"

namespace sparbor {

// A layer's weights by blocks of outputs.
struct WinogradWeights {
    WinogradWeights(size_t block, const Geometry& geometry, const FilterArrays& arrays);

    size_t block;                  // outputs
    size_t row;                    // floats for one of a block's numbers or taps
    LaidOutWeights weights;        // for each block its taps
    std::vector<float> scale, bias;  // of all numbers of a block's outputs, block by block
};

class WinogradConvolution final : public PackedInputStep {
public:
    WinogradConvolution(const Matrix& x, const Matrix& y, const Geometry& geometry,
                        std::shared_ptr<const WinogradWeights> weights, const Ending& ending);

private:
    // A unit is some rows of an item's tiles; its inputs are channels and its blocks those of outputs.
    size_t units() const override { return items() * item_units(); }
    size_t inputs(size_t) const override { return geometry_.channels; }
    size_t blocks(size_t) const override { return block_count(); }
    double item_work() const override { return work_; }
    size_t own_floats() const override;
    size_t packed_floats() const override;
    void prepare(const Call& call, size_t unit, size_t first, size_t last, float* own, float* packed) const override;
    void compute(const Call& call, size_t unit, size_t first, size_t last, float* own,
                 const float* packed) const override;

    size_t item_units() const;
    TileRows rows(size_t unit) const;
    void multiply(const Call& call, size_t block, size_t stride, const float* packed, float* own) const;
    void transform(const Winograd& winograd, size_t block, float* to) const;

    void choose_rows();
    size_t columns(size_t tile_rows) const;
    size_t product_floats() const;
    size_t line_floats() const;
    size_t block_count() const;

    Matrix x_, y_;
    Geometry geometry_;
    size_t tile_rows_, tile_columns_;  // of a plane
    size_t rows_;                      // of tiles that a unit has
    size_t columns_;                   // those of its tiles, whole lane groups
    size_t packed_stride_;              // from one of a tile's 16 numbers to the next
    std::vector<uint32_t> offsets_;    // of the packed input's channels
    std::shared_ptr<const WinogradWeights> weights_;
    float clamp_min_;
    double work_;
    std::optional<Activation> activation_;
};

}  // namespace sparbor
