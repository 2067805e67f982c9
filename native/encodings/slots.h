// Sparse layers of slots: which slots there are, whatever the synapses in them are stored as.
#pragma once

#include <vector>

#include "encodings/encoding.h"
#include "kernels/kernels.h"

namespace sparbor {

// Calls visit(slot, group, branch) for each slot, in stored order.
template <class Visit>
void for_each_slot(const Layer& layer, const Visit& visit) {
    const auto *runs = layer.data<uint16_t>("runs_per_group"), *branch = layer.data<uint16_t>("branches");
    const auto *slots = layer.data<uint16_t>("run_slots"), *branches = layer.data<uint16_t>("run_branches");
    uint64_t slot = 0, run = 0;
    for (uint64_t group = 0; group < layer.parts.at("runs_per_group").count(); group++)
        for (uint64_t last = run + runs[group]; run < last; run++)
            for (unsigned i = 0; i < branches[run]; i++, branch++)
                for (unsigned j = 0; j < slots[run]; j++) visit(slot++, group, *branch);
}

// The runs of each group add up to the branches that are listed, each once; returns how many slots there are.
uint64_t check_slots(LayerCheck& check);

// Each synapse's index, `index(slot, lane)`, lies in its branch and within the fan-in, and each belongs to an output.
template <class Index>
void check_synapses(const LayerCheck& check, const Index& index) {
    const Layer& layer = check.layer();
    bool inside = true, within = true, owned = true;
    for_each_slot(layer, [&](uint64_t slot, uint64_t group, uint64_t branch) {
        for (size_t lane = 0; lane < group_size; lane++) {
            if (layer.encoding->is_padding(layer, slot, lane)) continue;
            const uint64_t at = index(slot, lane);
            inside &= at < branch_size;
            within &= branch * branch_size + at < layer.fan_in;
            owned &= group * group_size + lane < layer.outputs;
        }
    });
    check(inside, "an index lies beyond its branch");
    check(within, "an index lies beyond the fan-in");
    check(owned, "a synapse belongs to a neuron beyond the outputs");
}

// Which of a convolution's packed rows are its outputs, and not there to fill a group of neurons.
std::vector<bool> real_rows(uint64_t outputs, uint64_t groups);

// Whether some place of these rows holds no synapse.
bool has_padding(const Layer& layer, const std::vector<bool>& rows);
// Whether some place of the other rows holds one.
bool has_stray_synapses(const Layer& layer, const std::vector<bool>& rows);

}  // namespace sparbor
