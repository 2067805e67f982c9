#include "ops/convolution/convolution.h"

#include <algorithm>

namespace sparbor {

Convolution::Convolution(const Matrix& x, const Matrix& y, const Geometry& geometry, ConvInputTiles::Pixels pixels,
                         bool zeros, size_t tile_outputs, size_t tiles_at_once, size_t kernel_floats, double work,
                         std::optional<Activation> activation)
    : PackedInputStep(x.rows / x.item_rows),
      x_(x),
      y_(y),
      geometry_(geometry),
      input_tiles_(geometry, x.stride, pixels, zeros),
      tile_outputs_(tile_outputs),
      tiles_at_once_(tiles_at_once),
      group_outputs_(geometry.out_channels / geometry.groups),
      group_tiles_(round_up(group_outputs_, tile_outputs) / tile_outputs),
      kernel_floats_(round_up(kernel_floats, column_tile)),
      work_(0.15 * work * static_cast<double>(input_tiles_.columns(y.columns) / column_tile)),
      activation_(activation) {}

size_t Convolution::item_units() const { return input_tiles_.strips() * input_tiles_.chunks(); }
size_t Convolution::units() const { return items() * item_units(); }
size_t Convolution::inputs(size_t unit) const { return input_tiles_.channels(strip(unit)); }

size_t Convolution::blocks(size_t unit) const {
    const ConvInputTiles::Strip part = strip(unit);
    return (part.last_group - part.first_group) * group_tiles_;
}

// What the kernel needs, and the results of some tiles.
size_t Convolution::own_floats() const {
    return kernel_floats_ + tiles_at_once_ * tile_outputs_ * input_tiles_.most_columns();
}

ConvInputTiles::Strip Convolution::strip(size_t unit) const {
    return input_tiles_.strip(unit / input_tiles_.strips() % input_tiles_.chunks(), unit % input_tiles_.strips());
}

void Convolution::prepare(const Call& call, size_t unit, size_t first, size_t last, float*, float* packed) const {
    input_tiles_.prepare(*call.kernels.planes, call.data(x_, unit / item_units()), strip(unit), first, last, packed);
}

void Convolution::compute(const Call& call, size_t unit, size_t first, size_t last, float* own,
                          const float* packed) const {
    const ConvInputTiles::Strip part = strip(unit);
    const float* const x = call.data(x_, unit / item_units());
    float* const planes = call.data(y_, unit / item_units());
    const size_t plane = y_.stride, pitch = input_tiles_.pitch(), width = geometry_.out_width;
    const size_t columns = input_tiles_.columns(part.rows), pixels = part.rows * width;
    const bool in_place = input_tiles_.results_in_place(part);
    float* const results = own + kernel_floats_;
    for (size_t tile = first, tiles; tile < last; tile += tiles) {
        const size_t group = part.first_group + tile / group_tiles_, within = tile % group_tiles_;
        tiles = std::min({tiles_at_once_, group_tiles_ - within, last - tile});
        const size_t outputs = std::min(tiles * tile_outputs_, group_outputs_ - within * tile_outputs_);
        float* const y = planes + (group * group_outputs_ + within * tile_outputs_) * plane + part.first_row * width;
        const Tile to = in_place ? Tile{y, plane, outputs} : Tile{results, columns, outputs};
        compute_tiles(call.kernels, group * group_tiles_ + within, tiles, input_tiles_.packed(x, part, group, packed),
                      to, own);
        for (size_t i = 0; i < outputs; i++) {
            if (!in_place)
                call.kernels.planes->narrow(results + i * columns, pitch, width, part.rows, y + i * plane);
            if (activation_) activation_->map(y + i * plane, pixels, activation_->a, activation_->b);
        }
    }
}

SparseConvolution::SparseConvolution(const Matrix& x, const Matrix& y, const Geometry& geometry,
                                     std::shared_ptr<const SparseMatrix> matrix, std::optional<Activation> activation)
    : Convolution(x, y, geometry, ConvInputTiles::Pixels::in_vectors, matrix->layer().padded, neuron_block, most_groups,
                  waiting_sums + matrix->decoded_floats(), static_cast<double>(matrix->slots() * neuron_block),
                  activation),
      matrix_(std::move(matrix)) {}

void SparseConvolution::compute_tiles(const KernelSet& kernels, size_t first, size_t count, const PackedInput& packed,
                                      const Tile& to, float* own) const {
    kernels.columns->sparse(matrix_->layer(), first, count, packed, to, own,
                            reinterpret_cast<Synapses*>(own + waiting_sums));
}

}  // namespace sparbor
