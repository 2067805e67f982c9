// Sparse layers: which slots or quads there are, whatever the synapses in them are stored as.
#pragma once

#include <array>
#include <type_traits>
#include <vector>

#include "encodings/encoding.h"
#include "kernels/kernels.h"

namespace sparbor {

// Calls visit(number, group, branch) for each slot or quad, in stored order.
template <class Visit>
void for_each_unit(const Layer& layer, const Visit& visit) {
    const auto *runs = layer.data<uint16_t>("runs_per_group"), *branch = layer.data<uint16_t>("branches");
    const auto *units = layer.data<uint16_t>(layer.encoding->unit->run_part);
    const auto *branches = layer.data<uint16_t>("run_branches");
    uint64_t unit = 0, run = 0;
    for (uint64_t group = 0; group < layer.parts.at("runs_per_group").count(); group++)
        for (uint64_t last = run + runs[group]; run < last; run++)
            for (unsigned i = 0; i < branches[run]; i++, branch++)
                for (unsigned j = 0; j < units[run]; j++) visit(unit++, group, *branch);
}

// The runs of each group add up to the branches that are listed, each once; returns how many slots or quads there are.
uint64_t check_units(LayerCheck& check);

// Where synapses have an index byte each: the one of a place without a synapse.
constexpr uint8_t padding_index = 0x80;
inline bool is_padding_index(const uint8_t* indices, uint64_t place) { return indices[place] == padding_index; }

// Calls visit(row, input, place) for each synapse; `index(place)` is its input's place in its branch.
template <class Index, class Visit>
void for_each_synapse(const Layer& layer, const Index& index, const Visit& visit) {
    const auto* const part = layer.data<uint8_t>(layer.encoding->places_part);
    const auto is_padding = layer.encoding->is_padding;
    const Unit& of = *layer.encoding->unit;
    for_each_unit(layer, [&](uint64_t unit, uint64_t group, uint64_t branch) {
        for (uint64_t i = 0, place = unit * of.places(); i < of.places(); i++, place++)
            if (!is_padding(part, place))
                visit(group * neuron_block + i / of.synapses, branch * of.branch + index(place), place);
    });
}

// Each synapse's index lies in its branch and within the fan-in, and each belongs to an output, which has it once.
template <class Index>
void check_synapses(const LayerCheck& check, const Index& index) {
    const Layer& layer = check.layer();
    const uint64_t branch_inputs = layer.encoding->unit->branch;
    bool inside = true, within = true, owned = true, once = true;
    uint64_t group = UINT64_MAX, branch = UINT64_MAX;
    std::array<uint64_t, neuron_block> known{};  // by neuron, the inputs of the branch that it has
    const auto checked = [&](uint64_t place) {
        const uint64_t at = index(place);
        inside &= at < branch_inputs;
        return at;
    };
    for_each_synapse(layer, checked, [&](uint64_t row, uint64_t input, uint64_t) {
        within &= input < layer.fan_in;
        owned &= row < layer.outputs;
        if (row / neuron_block != group || input / branch_inputs != branch) known.fill(0);
        group = row / neuron_block;
        branch = input / branch_inputs;
        const uint64_t one = uint64_t{1} << input % branch_inputs;
        once &= !(known[row % neuron_block] & one);
        known[row % neuron_block] |= one;
    });
    check(inside, "an index lies beyond its branch");
    check(within, "an index lies beyond the fan-in");
    check(owned, "a synapse belongs to a neuron beyond the outputs");
    check(once, "a neuron has two synapses to one input");
}

// Copies stored words or exact weights to the places of their synapses, place(row, input).
template <class Stored, class Place>
void spread_slots(const Layer& layer, const Stored* stored, Stored* all, const Place& place) {
    const auto* indices = layer.data<uint8_t>("indices");
    const auto index = [&](uint64_t at) -> uint64_t {
        return std::is_same_v<Stored, uint16_t> ? static_cast<uint64_t>(stored[at]) % branch_size : indices[at];
    };
    for_each_synapse(layer, index,
                     [&](uint64_t row, uint64_t input, uint64_t at) { all[place(row, input)] = stored[at]; });
}

// Which of a convolution's packed rows are its outputs, and not there to fill a group of neurons.
std::vector<bool> real_rows(uint64_t outputs, uint64_t groups);

// Whether some place of these rows holds no synapse.
bool has_padding(const Layer& layer, const std::vector<bool>& rows);
// Whether some place of the other rows holds one.
bool has_stray_synapses(const Layer& layer, const std::vector<bool>& rows);

}  // namespace sparbor
