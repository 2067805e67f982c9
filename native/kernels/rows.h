// How a kernel set goes through the rows of a batch, whatever its registers. Without linkage, as vectors.h.
#pragma once

#include "kernels.h"
#include "inlining.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// One row's sums of some groups. A set has the registers of a branch, `Inputs`, and of a group, `Sums`; `Synapses`
// walks through its slots, and `add_slot` adds one to one of two chains of sums.
template <class Inputs, class Sums, bool padded, class Synapses>
ALWAYS_INLINE void add_run(const Run& run, const uint16_t* branch, const float* x, Synapses& synapses, Sums& sums) {
    for (size_t i = 0; i < run.branches; i++) {
        const Inputs inputs(x + branch[i] * branch_size);
        size_t slot = 0;
        for (; slot + 2 <= run.slots; slot += 2) {
            add_slot<padded>(inputs, synapses, sums, 0);
            add_slot<padded>(inputs, synapses, sums, 1);
        }
        if (slot < run.slots) add_slot<padded>(inputs, synapses, sums, 0);
    }
}

template <class Inputs, class Sums, bool padded, class Synapses>
void sparse_row(const SparseLayer& layer, const float* x, float* y, size_t first, size_t last) {
    Synapses synapses(layer, layer.groups[first].slot);
    const uint16_t* branch = layer.branches + layer.groups[first].branch;
    const Run* run = layer.runs + layer.groups[first].run;
    for (size_t group = first; group < last; group++) {
        Sums sums;
        for (const Run* end = run + layer.groups[group].runs; run != end; run++) {
            add_run<Inputs, Sums, padded>(*run, branch, x, synapses, sums);
            branch += run->branches;
        }
        sums.store(layer, group * neuron_block, y);
    }
}

template <class Inputs, class Sums, bool padded, class Synapses>
void sparse_rows(const SparseLayer& layer, const Rows& io, size_t first, size_t last) {
    for (size_t row = 0; row < io.count; row++)
        sparse_row<Inputs, Sums, padded, Synapses>(layer, io.x + row * io.x_stride, io.y + row * io.y_stride, first,
                                                   last);
}

template <class Inputs, class Sums, class Words, class Exact>
void sparse_by_rows(const SparseLayer& layer, const Rows& io, size_t first, size_t last) {
    if (first == last) return;
    switch (layer.type) {
        case SynapseType::word16:
            return (layer.padded ? sparse_rows<Inputs, Sums, true, Words> : sparse_rows<Inputs, Sums, false, Words>)(
                layer, io, first, last);
        case SynapseType::exact:
            return (layer.padded ? sparse_rows<Inputs, Sums, true, Exact> : sparse_rows<Inputs, Sums, false, Exact>)(
                layer, io, first, last);
    }
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
