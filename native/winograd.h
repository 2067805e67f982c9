// Dense convolutions with a kernel of 3 x 3 and stride 1 by Winograd's F(2 x 2, 3 x 3): a tile of four outputs takes 16
// multiplications for each channel, where the direct sum takes 36.
#pragma once

#include "steps.h"

namespace sparbor {

class WinogradConvolution final : public Step {
public:
    // Whether it is faster than DenseConvolution, as measured; src/sparbor/crossover.py counts on the same limits.
    static bool pays(const Geometry& geometry);

    // Row-major weights as floats or as halves, the other null; scale and bias may be null.
    WinogradConvolution(const KernelSet& kernels, Value x, Value y, const Geometry& geometry, const float* weights,
                        const uint16_t* halves, const float* scale, const float* bias, bool relu,
                        std::optional<Activation> activation);

    void run(const Call& call) const override;
    size_t scratch_floats(const KernelSet& kernels, size_t batch) const override;

private:
    struct Unit;  // some rows of an item's tiles
    Unit unit(const Call& call, size_t number) const;
    void prepare(const Call& call, const Unit& unit, size_t first, size_t last, float* own, float* panels) const;
    void run_blocks(const Call& call, const Unit& unit, size_t first, size_t last, float* own,
                    const float* panels) const;

    void multiply(const Call& call, size_t block, size_t stride, const float* panels, float* own) const;
    void transform_block(const Winograd& winograd, size_t block, float* to) const;
    void transform_all(const Winograd& winograd);

    void choose_rows();
    size_t columns(size_t tile_rows) const;
    size_t product_floats() const;
    size_t line_floats() const;
    size_t own_floats() const;
    size_t blocks() const;

    Value x_, y_;
    Geometry geometry_;
    size_t tile_rows_, tile_columns_;  // of a plane
    size_t rows_;                      // of tiles that a unit has
    size_t columns_;                   // those of its tiles, whole lane groups
    size_t panel_stride_;              // from one of a tile's 16 numbers to the next
    std::vector<uint32_t> offsets_;    // of a panel's channels
    size_t block_;                     // outputs
    size_t weight_row_;                // floats for one of a block's numbers or taps
    std::vector<float> transformed_;   // for each block its numbers, or none if they are many: then from one of these,
    std::vector<float> weights_;       // for each block its taps
    std::vector<uint16_t> halves_;
    std::vector<float> scale_, bias_;  // of all numbers of a block's outputs, block by block
    float floor_;
    double work_;  // nanoseconds for an item, roughly
    std::optional<Activation> activation_;
};

}  // namespace sparbor
