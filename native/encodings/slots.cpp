#include "encodings/slots.h"

#include <algorithm>

namespace sparbor {
namespace {

void check_branches(const LayerCheck& check) {
    const Layer& layer = check.layer();
    const auto *runs = layer.data<uint16_t>("runs_per_group"), *wide = layer.data<uint16_t>("run_branches");
    const auto* branch = layer.data<uint16_t>("branches");
    const uint64_t inside = ceil_div(layer.fan_in, layer.encoding->unit->branch);
    std::vector<uint16_t> listed;
    for (uint64_t group = 0; group < layer.parts.at("runs_per_group").count(); group++) {
        listed.clear();
        for (unsigned run = 0; run < runs[group]; run++, wide++) {
            listed.insert(listed.end(), branch, branch + *wide);
            branch += *wide;
        }
        std::sort(listed.begin(), listed.end());
        check(std::adjacent_find(listed.begin(), listed.end()) == listed.end(), "a group lists a branch twice");
        check(listed.empty() || listed.back() < inside,
              "a branch lies beyond the fan-in " + std::to_string(layer.fan_in));
    }
}

std::string both(uint64_t found, const std::string& what, uint64_t wanted) {
    return std::to_string(found) + what + std::to_string(wanted);
}

// Whether visit(row, is padding) holds for some place.
template <class Visit>
bool any_place(const Layer& layer, const Visit& visit) {
    bool found = false;
    const auto* const part = layer.data<uint8_t>(layer.encoding->places_part);
    const Unit& of = *layer.encoding->unit;
    for_each_unit(layer, [&](uint64_t unit, uint64_t group, uint64_t) {
        for (uint64_t i = 0; i < of.places() && !found; i++)
            found = visit(group * neuron_block + i / of.synapses,
                          layer.encoding->is_padding(part, unit * of.places() + i));
    });
    return found;
}

}  // namespace

uint64_t check_units(LayerCheck& check) {
    const Unit& of = *check.layer().encoding->unit;
    const Tensor* rows[4];
    const char* const names[] = {"runs_per_group", of.run_part, "run_branches", "branches"};
    for (size_t i = 0; i < 4; i++) {
        rows[i] = &check.part(names[i], Number::u16);
        check(rows[i]->shape.size() == 1, std::string(names[i]) + " is not one row of numbers");
    }
    const auto [runs_per_group, run_units, run_branches, branches] = rows;
    const uint64_t groups = ceil_div(check.layer().outputs, neuron_block);
    check(runs_per_group->count() == groups, both(runs_per_group->count(), " groups listed, expected ", groups));
    check(run_units->count() == run_branches->count(),
          both(run_units->count(), std::string(" runs of ") + of.name + ", but of branches ", run_branches->count()));
    uint64_t runs = 0, listed = 0, units = 0;
    for (uint64_t i = 0; i < runs_per_group->count(); i++) runs += runs_per_group->as<uint16_t>()[i];
    check(runs == run_units->count(), "the groups' runs do not add up");
    for (uint64_t i = 0; i < runs; i++) {
        const uint64_t deep = run_units->as<uint16_t>()[i], wide = run_branches->as<uint16_t>()[i];
        check(deep >= 1 && deep <= of.most(),
              std::string("a run has no ") + of.name + " or more than " + std::to_string(of.most()));
        check(wide >= 1, "a run has no branches");
        listed += wide;
        units += deep * wide;
    }
    check(listed == branches->count(), both(branches->count(), " branches listed, but its runs have ", listed));
    check_branches(check);
    return units;
}

std::vector<bool> real_rows(uint64_t outputs, uint64_t groups) {
    if (groups == 1) return std::vector<bool>(outputs, true);
    const uint64_t each = outputs / groups, whole = ceil_div(each, neuron_block) * neuron_block;
    std::vector<bool> real(groups * whole);
    for (uint64_t row = 0; row < real.size(); row++) real[row] = row % whole < each;
    return real;
}

bool has_padding(const Layer& layer, const std::vector<bool>& rows) {
    return any_place(layer, [&](uint64_t row, bool padding) { return padding && row < rows.size() && rows[row]; });
}

bool has_stray_synapses(const Layer& layer, const std::vector<bool>& rows) {
    return any_place(layer, [&](uint64_t row, bool padding) { return !padding && row < rows.size() && !rows[row]; });
}

}  // namespace sparbor
