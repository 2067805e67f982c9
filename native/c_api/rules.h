// What a program must be like to run.
#pragma once

#include "program.h"

namespace sparbor::model {

// The layer's tensors are those that its kind has, and lead no kernel out of its arrays.
void check_layer(const std::string& name, Layer& layer);

// The operation's shapes, settings and weights fit each other.
void check_shapes(const Operation& operation, const Program& program);

// Makes a program of version 1 one of today, in which rows have one dimension and an item two at the most.
void use_rows_only(Program& program);

// Which of a convolution's packed rows are its outputs, and not there to fill a group of neurons.
std::vector<bool> real_rows(uint64_t outputs, uint64_t groups);

// Of a sparse layer: calls visit(slot, group, branch) for each slot, in stored order.
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

// Whether this place of a sparse layer holds no synapse.
inline bool is_padding(const Layer& layer, uint64_t slot, size_t lane) {
    const auto* words = layer.data<uint16_t>("words");
    return words ? words[slot * group_size + lane] == 0
                 : layer.data<uint8_t>("indices")[slot * group_size + lane] == 0x80;
}

}  // namespace sparbor::model
