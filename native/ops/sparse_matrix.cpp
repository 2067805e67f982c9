#include "ops/sparse_matrix.h"

#include <algorithm>

#include "encodings/slots.h"
#include "ops/outputs.h"

#ifndef _WIN32
#include <unistd.h>
#endif

namespace sparbor {
namespace {

size_t first_cache_bytes() {
#ifdef _SC_LEVEL1_DCACHE_SIZE
    if (const long bytes = sysconf(_SC_LEVEL1_DCACHE_SIZE); bytes > 0) return static_cast<size_t>(bytes);
#endif
    return 32 * 1024;
}

// Whether the first `lanes` words of each slot are normal halves.
bool all_normal(const uint16_t* words, size_t slots, size_t lanes) {
    constexpr uint16_t exponent = 0x7C00;
    for (size_t slot = 0; slot < slots; slot++, words += neuron_block) {
        bool normal = true;
        for (size_t lane = 0; lane < lanes; lane++) normal &= (words[lane] & exponent) != 0;
        if (!normal) return false;
    }
    return true;
}

}  // namespace

uint32_t chunk_shift(size_t input_floats, size_t inputs) {
    static const size_t floats = std::max(first_cache_bytes() / sizeof(float), 2 * waiting_sums) - waiting_sums;
    const size_t branches = round_up(inputs, branch_size) / branch_size;
    uint32_t shift = 0;
    while ((2 << shift) * branch_size * input_floats <= floats || branches >> shift >= most_chunks) shift++;
    return shift;
}

Blocks::Blocks(const Layer& layer) {
    const auto *runs_of = layer.data<uint16_t>("runs_per_group"), *branches = layer.data<uint16_t>("run_branches");
    const auto* units_of = layer.data<uint16_t>(layer.encoding->unit->run_part);
    NeuronBlock at{};
    for (size_t number = 0; number < layer.parts.at("runs_per_group").count(); number++) {
        at.runs = runs_of[number];
        groups.push_back(at);
        for (uint32_t i = 0; i < at.runs; i++) {
            const Run run{units_of[at.run + i], branches[at.run + i]};
            runs.push_back(run);
            at.slot += size_t{run.slots} * run.branches;
            at.branch += run.branches;
        }
        at.run += at.runs;
    }
    units = at.slot;
}

SparseMatrix::SparseMatrix(const Layer& layer, const std::vector<bool>& real, float clamp_min)
    : blocks_(layer), scale_(padded(layer.data<float>("scale"), layer.outputs, neuron_block, 1.0f)),
      bias_(padded(layer.data<float>("bias"), layer.outputs, neuron_block, 0.0f)), most_slots_(0) {
    const auto* words = layer.data<uint16_t>("words");
    if (words) find_normal_groups(layer);
    count_most_slots();
    layer_ = {blocks_.groups.data(),
              blocks_.runs.data(),
              layer.data<uint16_t>("branches"),
              words ? SynapseType::word16 : SynapseType::exact,
              words ? static_cast<const void*>(words) : layer.data<float>("weights"),
              layer.data<uint8_t>("indices"),
              scale_.data(),
              bias_.data(),
              clamp_min,
              has_padding(layer, real)};
}

void SparseMatrix::find_normal_groups(const Layer& layer) {
    const auto* words = layer.data<uint16_t>("words");
    for (size_t number = 0; number < groups(); number++) {
        NeuronBlock& group = blocks_.groups[number];
        const size_t end = number + 1 < groups() ? blocks_.groups[number + 1].slot : slots();
        const size_t neurons = std::min(neuron_block, layer.outputs - number * neuron_block);
        group.normal = all_normal(words + group.slot * neuron_block, end - group.slot, neurons);
    }
}

void SparseMatrix::count_most_slots() {
    const auto& all = blocks_.groups;
    for (size_t i = 0; i < all.size(); i++) {
        const size_t end = i + most_groups < all.size() ? all[i + most_groups].slot : slots();
        most_slots_ = std::max<size_t>(most_slots_, end - all[i].slot);
    }
}

}  // namespace sparbor
