// What becomes of sums of bytes times weights: rows of floats. Without linkage, as vectors.h.
#pragma once

#include "quads.h"
#include "rounding.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// Of some rows and the group's neurons; sum(row, part) has a register of them, in which the byte 0 was `least_input`.
template <size_t rows, class Layer, class Sum>
ALWAYS_INLINE void store_rows(const Layer& layer, const ByteRows& io, size_t first_row, size_t group,
                              int32_t least_input, const Sum& sum) {
    const Vector least = everywhere(layer.clamp_min);
    UNROLL for (size_t part = 0; part < neuron_block / lanes; part++) {
        const size_t neuron = group * neuron_block + part * lanes;
        const Vector scale = load(layer.scale + neuron), bias = load(layer.bias + neuron);
        const Integers weights = load(layer.sums + neuron);
        UNROLL for (size_t row = 0; row < rows; row++) {
            const ByteRange& range = io.ranges[first_row + row];
            const Integers whole = sum(row, part) - weights * everywhere(range.zero + least_input);
            const Vector exact = __builtin_convertvector(reinterpret_cast<Wholes>(whole), Vector);
            const Vector y = exact * (scale * range.step) + bias;
            store(io.y + (first_row + row) * io.y_stride + neuron, y < least ? least : y);  // keeps NaN
        }
    }
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
