// Convolutions over strips of planes.
#pragma once

#include <memory>

#include "ops/convolution/panel_step.h"
#include "ops/convolution/strips.h"
#include "ops/outputs.h"
#include "ops/sparse_matrix.h"

namespace sparbor {

class Convolution : public PanelStep {
protected:
    // A tile is `tile_outputs` outputs, and up to `tiles_at_once` of them are computed together; the kernel needs
    // `kernel_floats` for itself. A multiply-add of a whole vector for each of `work` and pixel vectors.
    Convolution(const Matrix& x, const Matrix& y, const Geometry& geometry, Strips::Pixels pixels, bool zeros, size_t tile_outputs,
                size_t tiles_at_once, size_t kernel_floats, double work, std::optional<Activation> activation);

    // The results of some tiles of one group of the convolution.
    virtual void compute_tiles(const KernelSet& kernels, size_t first, size_t count, const Panel& panel, const Tile& to,
                               float* own) const = 0;

private:
    // A unit is an item's strip; its inputs are channels and its blocks tiles of outputs.
    size_t units() const override;
    size_t inputs(size_t unit) const override;
    size_t blocks(size_t unit) const override;
    double item_work() const override { return work_; }
    size_t own_floats() const override;
    size_t panel_floats() const override { return strips_.scratch_floats(); }
    void prepare(const Call& call, size_t unit, size_t first, size_t last, float* own, float* panel) const override;
    void compute(const Call& call, size_t unit, size_t first, size_t last, float* own,
                 const float* panel) const override;

    size_t item_units() const;
    Strips::Strip strip(size_t unit) const;

    Matrix x_, y_;
    Geometry geometry_;
    Strips strips_;
    size_t tile_outputs_, tiles_at_once_;
    size_t group_outputs_, group_tiles_;  // of a group of the convolution
    size_t kernel_floats_;
    double work_;
    std::optional<Activation> activation_;
};

class SparseConvolution final : public Convolution {
public:
    // A group of the convolution has whole groups of neurons, the last padded with outputs without synapses.
    SparseConvolution(const Matrix& x, const Matrix& y, const Geometry& geometry, std::shared_ptr<const SparseMatrix> matrix,
                      std::optional<Activation> activation);
    const char* way() const override { return "sparse"; }

private:
    void compute_tiles(const KernelSet& kernels, size_t first, size_t count, const Panel& panel, const Tile& to,
                       float* own) const override;

    std::shared_ptr<const SparseMatrix> matrix_;
};

}  // namespace sparbor
