// The lists that training's kernels walk through, made of where a layer's synapses lie in its weight.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sparbor {

// Planes whose numbers lie `channel`, `line` and `pixel` apart.
struct Spacing {
    uint32_t channel, line, pixel;
};

// A convolution of stride 1 whose weight is (outputs, fan_in, kernel_h, kernel_w), over planes that include their
// padding; `slopes` are those of the gradients of its outputs.
struct Wiring {
    size_t outputs, fan_in, kernel_h, kernel_w, dilation_h, dilation_w, groups;
    Spacing inputs, slopes;
};

// The synapses of each row, of `rows`, in `parts`; see Topology in training.h. As many `bounds` as (parts + 1) * rows.
struct RowLists {
    size_t rows, parts;
    uint32_t* bounds;
    uint32_t* inputs;
};

// Lists by output for synapses at these `positions`, in order, and lists by input channel. The latter's synapses are
// those that `order` says.
void list_synapses(const int64_t* positions, size_t count, const Wiring& layer, const RowLists& by_output,
                   const RowLists& by_channel, uint32_t* order);

}  // namespace sparbor
