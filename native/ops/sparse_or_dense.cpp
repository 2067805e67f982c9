#include "ops/sparse_or_dense.h"

#include <algorithm>

#include "encodings/slots.h"
#include "kernels/dense_bytes.h"
#include "ops/convolution/dense_dispatch.h"

namespace sparbor {
namespace {

// From so many rows or pixels on there are many.
constexpr size_t many_rows = 6, many_pixels = 64, many_tiled_pixels = 1500;

double share_of(const DenseShares& shares, size_t count, size_t many) {
    return count < many ? shares.few : shares.many;
}

// Of the places that a convolution's outputs have, those that are stored, padding included.
double stored_share(const Layer& layer, const std::vector<bool>& real, uint64_t outputs) {
    const auto *runs = layer.data<uint16_t>("runs_per_group"), *slots = layer.data<uint16_t>("run_slots");
    const auto* branches = layer.data<uint16_t>("run_branches");
    uint64_t places = 0;
    for (size_t block = 0, run = 0; block * neuron_block < real.size(); block++) {
        const auto first = real.begin() + static_cast<ptrdiff_t>(block * neuron_block);
        const size_t rows = std::min(neuron_block, real.size() - block * neuron_block);
        const auto outputs_of_block = std::count(first, first + static_cast<ptrdiff_t>(rows), true);
        for (const size_t end = run + runs[block]; run < end; run++)
            places += uint64_t{slots[run]} * branches[run] * static_cast<uint64_t>(outputs_of_block);
    }
    return static_cast<double>(places) / static_cast<double>(outputs * layer.fan_in);
}

}  // namespace

double linear_share(size_t rows, const KernelSet& kernels) { return share_of(kernels.linear, rows, many_rows); }

double convolution_share(const Geometry& geometry, const KernelSet& kernels) {
    if (geometry.groups > 1 && geometry.out_channels == geometry.groups) return 0;
    const size_t pixels = geometry.out_height * geometry.out_width;
    if (takes_tiles(geometry)) return share_of(kernels.tiled_convolution, pixels, many_tiled_pixels);
    return share_of(kernels.convolution, pixels, many_pixels);
}

double byte_linear_share(size_t rows, const KernelSet& kernels) {
    constexpr size_t several = 2;
    return share_of(kernels.quads->dense->faster, rows, several);
}

bool faster_dense(const Layer& layer, size_t rows, const KernelSet& kernels) {
    const double share = has_bytes(layer) ? byte_linear_share(rows, kernels) : linear_share(rows, kernels);
    const double places = static_cast<double>(ceil_div(layer.outputs, neuron_block) * layer.fan_in);
    const double slots = static_cast<double>(layer.encoding->places(layer) / neuron_block);
    return slots > share * places;
}

bool faster_dense(const Layer& layer, const Geometry& geometry, const KernelSet& kernels) {
    const double share = convolution_share(geometry, kernels);
    const auto outputs = static_cast<uint64_t>(geometry.out_channels);
    return share == 0 ||
           stored_share(layer, real_rows(outputs, static_cast<uint64_t>(geometry.groups)), outputs) > share;
}

uint64_t dense_bytes(const Layer& layer) {
    constexpr uint64_t most = uint64_t{1} << 56;
    const uint64_t rows = ceil_div(layer.outputs, neuron_block) * neuron_block;
    if (has_bytes(layer)) return product({rows, ceil_div(layer.fan_in, dot_inputs), dot_inputs}, most).value_or(most);
    const uint64_t each = layer.parts.count("words") ? sizeof(uint16_t) : sizeof(float);
    return product({rows, layer.fan_in, each}, most).value_or(most);
}

}  // namespace sparbor
