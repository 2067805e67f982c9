// A layer's tensors are as kernels need them: stored_layers.py and sound_layers.py in C++.
#include <algorithm>
#include <cmath>

#include "rules.h"

namespace sparbor::model {
namespace {

// Says of which layer a fault is.
class Check {
public:
    Check(const std::string& name, const Layer& layer) : name_(name), layer_(layer) {}

    void operator()(bool holds, const char* fault) const {
        if (!holds) require(false, "layer '" + name_ + "': " + fault);
    }

    // It has this part, of this type and, if that is given, of this shape.
    const Tensor& part(const std::string& part, Number type, const Shape* shape = nullptr) {
        const auto found = layer_.parts.find(part);
        require(found != layer_.parts.end(), "layer '" + name_ + "' has no " + part);
        const Tensor& tensor = found->second;
        require(tensor.type == type && (!shape || tensor.shape == *shape),
                "layer '" + name_ + "': " + part + " is of another type or shape");
        known_++;
        return tensor;
    }

    void no_others() const { (*this)(known_ == layer_.parts.size(), "it has unknown arrays"); }

private:
    const std::string& name_;
    const Layer& layer_;
    size_t known_ = 0;
};

bool all_finite(const Tensor& tensor) {
    const auto* values = tensor.as<float>();
    return std::all_of(values, values + tensor.count(), [](float value) { return std::isfinite(value); });
}

bool halves_finite(const Tensor& tensor) {
    constexpr uint16_t exponent = 0x7C00;
    const auto* words = tensor.as<uint16_t>();
    return std::all_of(words, words + tensor.count(), [](uint16_t word) { return (word & exponent) != exponent; });
}

void check_scale(const Check& check, const Tensor& scale) {
    const auto* values = scale.as<float>();
    const auto sound = [](float value) { return std::isfinite(value) && value > 0; };
    check(std::all_of(values, values + scale.count(), sound), "a neuron's scale is not a positive number");
}

void take_bias(Check& check, const Layer& layer) {
    const Shape outputs{layer.outputs};
    if (layer.parts.count("bias")) check(all_finite(check.part("bias", Number::f32, &outputs)), "bias holds NaN");
}

void take_scale(Check& check, const Layer& layer) {
    const Shape outputs{layer.outputs};
    check_scale(check, check.part("scale", Number::f32, &outputs));
}

void check_affine(Check& check, Layer& layer) {
    const Tensor& scale = check.part("scale", Number::f32);
    check(scale.shape.size() == 1, "scale is not one row of numbers");
    const Tensor& shift = check.part("shift", Number::f32, &scale.shape);
    check(all_finite(scale) && all_finite(shift), "scale or shift holds NaN or infinity");
    layer.outputs = scale.shape[0];
}

void check_dense(Check& check, const Layer& layer) {
    const bool panels = layer.kind == Layer::Kind::dense;
    const Shape rows{layer.outputs, layer.fan_in};
    const Shape stored = panels ? Shape{ceil_div(layer.outputs, group_size), layer.fan_in, group_size} : rows;
    take_bias(check, layer);
    if (layer.exact)
        return check(all_finite(check.part(panels ? "panels" : "weights", Number::f32, &stored)),
                     "a weight is infinite or NaN");
    check(halves_finite(check.part("halves", Number::u16, &stored)), "a weight is infinite or NaN");
    take_scale(check, layer);
}

// The runs of each group add up to the branches that are listed; returns the slots.
uint64_t check_runs(Check& check, const Layer& layer) {
    const Tensor* rows[4];
    const char* const names[] = {"runs_per_group", "run_slots", "run_branches", "branches"};
    for (size_t i = 0; i < 4; i++) {
        rows[i] = &check.part(names[i], Number::u16);
        check(rows[i]->shape.size() == 1, "a part of its topology is not one row of numbers");
    }
    const auto [runs_per_group, run_slots, run_branches, branches] = rows;
    check(runs_per_group->count() == ceil_div(layer.outputs, group_size), "it has not as many groups as outputs need");
    check(run_slots->count() == run_branches->count(), "runs of slots and of branches are not as many");
    uint64_t runs = 0, listed = 0, slots = 0;
    for (uint64_t i = 0; i < runs_per_group->count(); i++) runs += runs_per_group->as<uint16_t>()[i];
    check(runs == run_slots->count(), "the groups' runs do not add up");
    for (uint64_t i = 0; i < runs; i++) {
        const uint64_t deep = run_slots->as<uint16_t>()[i], wide = run_branches->as<uint16_t>()[i];
        check(deep >= 1 && deep <= branch_size, "a run has no slots or more than 32");
        check(wide >= 1, "a run has no branches");
        listed += wide;
        slots += deep * wide;
    }
    check(listed == branches->count(), "the runs' branches do not add up");
    return slots;
}

void check_branches(const Check& check, const Layer& layer) {
    const auto *runs = layer.data<uint16_t>("runs_per_group"), *wide = layer.data<uint16_t>("run_branches");
    const auto* branch = layer.data<uint16_t>("branches");
    const uint64_t inside = ceil_div(layer.fan_in, branch_size);
    std::vector<uint16_t> listed;
    for (uint64_t group = 0; group < layer.parts.at("runs_per_group").count(); group++) {
        listed.clear();
        for (unsigned run = 0; run < runs[group]; run++, wide++) {
            listed.insert(listed.end(), branch, branch + *wide);
            branch += *wide;
        }
        std::sort(listed.begin(), listed.end());
        check(std::adjacent_find(listed.begin(), listed.end()) == listed.end(), "a group lists a branch twice");
        check(listed.empty() || listed.back() < inside, "a branch lies beyond the fan-in");
    }
}

// Each index lies in its branch and within the fan-in, each synapse belongs to an output.
void check_places(const Check& check, const Layer& layer) {
    const auto* words = layer.data<uint16_t>("words");
    const auto* indices = layer.data<uint8_t>("indices");
    bool inside = true, within = true, owned = true;
    for_each_slot(layer, [&](uint64_t slot, uint64_t group, uint64_t branch) {
        for (size_t lane = 0; lane < group_size; lane++) {
            if (is_padding(layer, slot, lane)) continue;
            const uint64_t at = slot * group_size + lane;
            const uint64_t index = words ? words[at] % branch_size : indices[at];
            inside &= index < branch_size;
            within &= branch * branch_size + index < layer.fan_in;
            owned &= group * group_size + lane < layer.outputs;
        }
    });
    check(inside, "an index lies beyond its branch");
    check(within, "an index lies beyond the fan-in");
    check(owned, "a synapse belongs to a neuron beyond the outputs");
}

void check_sparse(Check& check, const Layer& layer) {
    take_bias(check, layer);
    const Shape stored{check_runs(check, layer), group_size};
    check_branches(check, layer);
    if (layer.exact) {
        check(all_finite(check.part("weights", Number::f32, &stored)), "a weight is infinite or NaN");
        check.part("indices", Number::u8, &stored);
    } else {
        check(halves_finite(check.part("words", Number::u16, &stored)), "a synapse word is infinite or NaN");
        take_scale(check, layer);
    }
    check_places(check, layer);
}

}  // namespace

void check_layer(const std::string& name, Layer& layer) {
    Check check(name, layer);
    if (layer.kind == Layer::Kind::affine) check_affine(check, layer);
    else if (layer.kind == Layer::Kind::sparse) check_sparse(check, layer);
    else check_dense(check, layer);
    check.no_others();
}

}  // namespace sparbor::model
