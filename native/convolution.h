// Convolutions over strips of planes.
#pragma once

#include <memory>
#include <new>

#include "panel_step.h"
#include "steps.h"
#include "strips.h"

namespace sparbor {

class Convolution : public PanelStep {
protected:
    // A tile is `tile_outputs` outputs, and up to `tiles_at_once` of them are computed together; the kernel needs
    // `kernel_floats` for itself. A multiply-add of a whole vector for each of `work` and pixel vectors.
    Convolution(Value x, Value y, const Geometry& geometry, Strips::Pixels pixels, bool zeros, size_t tile_outputs,
                size_t tiles_at_once, size_t kernel_floats, double work, std::optional<Activation> activation);

    // The results of some tiles of one group of the convolution.
    virtual void compute_tiles(const KernelSet& kernels, size_t first, size_t count, const Panel& panel, const Tile& to,
                               float* own) const = 0;

private:
    // A unit is an item's strip; its inputs are channels and its blocks tiles of outputs.
    size_t units(size_t batch) const override;
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

    Value x_, y_;
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
    SparseConvolution(Value x, Value y, const Geometry& geometry, std::unique_ptr<SparseMatrix> matrix,
                      std::optional<Activation> activation);

private:
    void compute_tiles(const KernelSet& kernels, size_t first, size_t count, const Panel& panel, const Tile& to,
                       float* own) const override;

    std::unique_ptr<SparseMatrix> matrix_;
};

// Numbers that start at a cache line, so that no vector of them lies in two.
template <class Number>
class AlignedArray {
public:
    explicit AlignedArray(size_t count) : numbers_(new (line) Number[count]()) {}
    Number* data() const { return numbers_.get(); }

private:
    static constexpr std::align_val_t line{64};
    struct Free {
        void operator()(Number* numbers) const { operator delete[](numbers, line); }
    };
    std::unique_ptr<Number[], Free> numbers_;
};

// What the lanes of a dense convolution's kernel are.
enum class Lanes { pixels, outputs };
// Whichever takes less time.
Lanes best_lanes(const Geometry& geometry, const KernelSet& kernels);

// The weights of a dense convolution, in blocks of outputs.
class DenseMatrix {
public:
    DenseMatrix(const Geometry& geometry, size_t block, const FilterArrays& arrays, bool relu);
    DenseMatrix(const DenseMatrix&) = delete;
    DenseMatrix& operator=(const DenseMatrix&) = delete;

    const DenseBlocks& blocks() const { return blocks_; }
    size_t block_weights() const { return blocks_.block * blocks_.fan_in; }

private:
    AlignedArray<float> weights_;
    AlignedArray<uint16_t> halves_;
    std::vector<float> scale_, bias_;
    DenseBlocks blocks_;
};

class DenseConvolution final : public Convolution {
public:
    // `floats` that the kernel needs beside the pixels.
    DenseConvolution(Value x, Value y, const Geometry& geometry, Lanes lanes, std::unique_ptr<DenseMatrix> matrix,
                     size_t floats, std::optional<Activation> activation);

private:
    void compute_tiles(const KernelSet& kernels, size_t first, size_t count, const Panel& panel, const Tile& to,
                       float* own) const override;

    Lanes lanes_;
    std::unique_ptr<DenseMatrix> matrix_;
};

}  // namespace sparbor
