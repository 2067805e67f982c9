// Dense convolutions as direct sums; the kernel's lanes are pixels or outputs.
#pragma once

#include "ops/convolution/convolution.h"
#include "ops/convolution/filter_arrays.h"

namespace sparbor {

// What the lanes of a dense convolution's kernel are.
enum class Lanes { pixels, outputs };
// Whichever takes less time.
Lanes best_lanes(const Geometry& geometry, const KernelSet& kernels);

// The weights of a dense convolution, in blocks of outputs.
class DenseMatrix {
public:
    DenseMatrix(const Geometry& geometry, size_t block, const FilterArrays& arrays, float clamp_min);
    DenseMatrix(const DenseMatrix&) = delete;
    DenseMatrix& operator=(const DenseMatrix&) = delete;

    const DenseBlocks& blocks() const { return blocks_; }
    size_t block_weights() const { return blocks_.block * blocks_.fan_in; }

private:
    LaidOutWeights weights_;
    std::vector<float> scale_, bias_;
    DenseBlocks blocks_;
};

class DenseConvolution final : public Convolution {
public:
    // `floats` that the kernel needs beside the pixels.
    DenseConvolution(const Matrix& x, const Matrix& y, const Geometry& geometry, Lanes lanes,
                     std::shared_ptr<const DenseMatrix> matrix, size_t floats, std::optional<Activation> activation);

private:
    void compute_tiles(const KernelSet& kernels, size_t first, size_t count, const PackedInput& packed, const Tile& to,
                       float* own) const override;

    Lanes lanes_;
    std::shared_ptr<const DenseMatrix> matrix_;
};

}  // namespace sparbor
