#include "ops/convolution/dense_convolution.h"

namespace sparbor {
namespace {

size_t fan_in_of(const Geometry& g) { return g.channels / g.groups * g.kernel_h * g.kernel_w; }

size_t padded_outputs(const Geometry& g, size_t block) { return g.groups * round_up(g.out_channels / g.groups, block); }

size_t padded_weights(const Geometry& g, size_t block) { return padded_outputs(g, block) * fan_in_of(g); }

}  // namespace

// Lanes that are outputs leave no pixel unused, but the results must be turned.
Lanes best_lanes(const Geometry& g, const KernelSet& kernels) {
    const double fan_in = fan_in_of(g), pixels = g.out_height * g.out_width;
    const double by_outputs = pixels * padded_outputs(g, neuron_block) * (fan_in + kernels.outputs->transposing);
    const double by_pixels =
        round_up(g.out_height * g.out_width, column_tile) * padded_outputs(g, kernels.columns->block) * fan_in;
    return by_outputs * kernels.outputs->cost < by_pixels ? Lanes::outputs : Lanes::pixels;
}

DenseMatrix::DenseMatrix(const Geometry& geometry, size_t block, const FilterArrays& arrays, float clamp_min)
    : weights_(arrays.weights.type, padded_weights(geometry, block)),
      scale_(padded_outputs(geometry, block), 1.0f), bias_(padded_outputs(geometry, block), 0.0f) {
    const size_t outputs = geometry.out_channels / geometry.groups, padded = round_up(outputs, block);
    const size_t fan_in = fan_in_of(geometry);
    for (size_t output = 0; output < static_cast<size_t>(geometry.out_channels); output++) {
        const size_t at = output / outputs * padded + output % outputs;
        const size_t start = at / block * block * fan_in + at % block;
        with_numbers(arrays.weights, [&]<class Number>(const Number* weights) {
            for (size_t k = 0; k < fan_in; k++) weights_.as<Number>()[start + k * block] = weights[output * fan_in + k];
        });
        if (arrays.scale) scale_[at] = arrays.scale[output];
        if (arrays.bias) bias_[at] = arrays.bias[output];
    }
    blocks_ = {weights_.array(), scale_.data(), bias_.data(), block, fan_in, clamp_min};
}

DenseConvolution::DenseConvolution(const Matrix& x, const Matrix& y, const Geometry& geometry, Lanes lanes,
                                   std::shared_ptr<const DenseMatrix> matrix, size_t floats,
                                   std::optional<Activation> activation)
    : Convolution(x, y, geometry,
                  lanes == Lanes::pixels ? ConvInputTiles::Pixels::in_vectors : ConvInputTiles::Pixels::one_by_one,
                  false, matrix->blocks().block, 1, floats,
                  static_cast<double>(geometry.out_channels * matrix->blocks().fan_in), activation),
      lanes_(lanes),
      matrix_(std::move(matrix)) {}

void DenseConvolution::compute_tiles(const KernelSet& kernels, size_t first, size_t, const PackedInput& packed,
                                     const Tile& to, float* own) const {
    const auto dense = lanes_ == Lanes::outputs ? kernels.outputs->dense : kernels.columns->dense;
    dense(matrix_->blocks(), first, packed, to, own);
}

}  // namespace sparbor
