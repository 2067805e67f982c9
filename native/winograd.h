// Dense convolutions with a kernel of 3 x 3 and stride 1 by Winograd's F(2 x 2, 3 x 3): a tile of four outputs takes 16
// multiplications for each channel, where the direct sum takes 36.
#pragma once

#include "steps.h"

namespace sparbor {

class WinogradConvolution final : public Step {
public:
    // Whether it is faster than DenseConvolution, as measured.
    static bool pays(const Geometry& geometry);

    // Row-major weights as floats or as halves, the other null; scale and bias may be null.
    WinogradConvolution(Value x, Value y, const Geometry& geometry, size_t block, const float* weights,
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

    void choose_rows();
    size_t columns(size_t tile_rows) const;
    size_t product_floats() const;
    size_t own_floats() const;
    size_t blocks() const;

    Value x_, y_;
    Geometry geometry_;
    size_t tile_rows_, tile_columns_;  // of a plane
    size_t rows_;                      // of tiles that a unit has
    size_t columns_;                   // those of its tiles, whole lane groups
    size_t panel_stride_;              // from one of a tile's 16 numbers to the next
    std::vector<uint32_t> offsets_;    // of a panel's channels
    std::vector<float> weights_, scale_, bias_;
    DenseBlocks blocks_;
    float floor_;
    double work_;  // nanoseconds for an item, roughly
    std::optional<Activation> activation_;
};

}  // namespace sparbor
