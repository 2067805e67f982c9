// Convolutions over strips of planes.
#pragma once

#include <memory>

#include "ops/convolution/packed_input_step.h"
#include "ops/convolution/conv_input_tiles.h"
#include "ops/outputs.h"
#include "ops/sparse_matrix.h"

namespace sparbor {

class Convolution : public PackedInputStep {
protected:
    // A tile is `tile_outputs` outputs, and up to `tiles_at_once` of them are computed together; the kernel needs
    // `kernel_floats` for itself. A multiply-add of a whole vector for each of `work` and pixel vectors.
    Convolution(const Matrix& x, const Matrix& y, const Geometry& geometry, ConvInputTiles::Pixels pixels, bool zeros,
                size_t tile_outputs, size_t tiles_at_once, size_t kernel_floats, double work,
                std::optional<Activation> activation);

    // The results of some tiles of one group of the convolution.
    virtual void compute_tiles(const KernelSet& kernels, size_t first, size_t count, const PackedInput& packed,
                               const Tile& to, float* own) const = 0;

private:
    // A unit is an item's strip; its inputs are channels and its blocks tiles of outputs.
    size_t units() const override;
    size_t inputs(size_t unit) const override;
    size_t blocks(size_t unit) const override;
    double item_work() const override { return work_; }
    size_t own_floats() const override;
    size_t packed_floats() const override { return input_tiles_.scratch_floats(); }
    void prepare(const Call& call, size_t unit, size_t first, size_t last, float* own, float* packed) const override;
    void compute(const Call& call, size_t unit, size_t first, size_t last, float* own,
                 const float* packed) const override;

    size_t item_units() const;
    ConvInputTiles::Strip strip(size_t unit) const;

    Matrix x_, y_;
    Geometry geometry_;
    ConvInputTiles input_tiles_;
    size_t tile_outputs_, tiles_at_once_;
    size_t group_outputs_, group_tiles_;  // of a group of the convolution
    size_t kernel_floats_;
    double work_;
    std::optional<Activation> activation_;
};

class SparseConvolution final : public Convolution {
public:
    // A group of the convolution has whole groups of neurons, the last padded with outputs without synapses.
    SparseConvolution(const Matrix& x, const Matrix& y, const Geometry& geometry,
                      std::shared_ptr<const SparseMatrix> matrix, std::optional<Activation> activation);
    const char* way() const override { return "sparse"; }

private:
    void compute_tiles(const KernelSet& kernels, size_t first, size_t count, const PackedInput& packed, const Tile& to,
                       float* own) const override;

    std::shared_ptr<const SparseMatrix> matrix_;
};

}  // namespace sparbor
