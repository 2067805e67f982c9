#include "plan/slices.h"

#include <algorithm>

namespace sparbor {
namespace {

constexpr size_t cache_bytes = 1 << 20;  // of a thread: a second cache

// Says of each operation whether it computes items from those alone that have the same number.
class Search {
public:
    Search(const Program& program, size_t items) : program_(program), items_(items) {}

    bool all_apart() const {
        const auto& values = program_.values;
        const bool known = std::all_of(values.begin(), values.end(), [&](const ValueType& value) {
            return has_items(value, items_) ? value.shape.size() > 1 && !names_items(value, 1) : !names_items(value, 0);
        });
        const auto given_by_item = [&](const Port& port) { return has_items(values[port.value], items_); };
        return known && std::all_of(program_.outputs.begin(), program_.outputs.end(), given_by_item) &&
               std::all_of(program_.operations.begin(), program_.operations.end(),
                           [&](const Operation& each) { return are_apart(each); });
    }

private:
    bool names_items(const ValueType& value, size_t from) const {
        return std::any_of(value.shape.begin() + static_cast<ptrdiff_t>(from), value.shape.end(),
                           [&](const Dimension& each) { return each.has(items_); });
    }

    // What all items share is as if repeated for each: it has a single index where others have the items.
    bool is_one_for_all(const ValueType& value) const {
        return !value.shape.empty() && value.shape[0].is_number() && value.shape[0].at({0, 0}) == 1;
    }

    bool are_apart(const Operation& operation) const {
        const auto is_by_item = [&](uint64_t value) { return has_items(program_.values[value], items_); };
        const bool gives = is_by_item(operation.output);
        const bool takes = std::any_of(operation.inputs.begin(), operation.inputs.end(), is_by_item);
        if (!gives && !takes) return true;
        const bool inputs_fit = std::all_of(operation.inputs.begin(), operation.inputs.end(), [&](uint64_t input) {
            return is_by_item(input) || is_one_for_all(program_.values[input]);
        });
        if (!gives || !inputs_fit || !keeps_to_items(operation)) return false;
        return takes || operation.type->name == std::string_view("expand");
    }

    // Rows, planes, heads and pixels are those of an item. Other operations go along dimensions that their settings name,
    // or number by number; a product's last two dimensions are matrices.
    bool keeps_to_items(const Operation& operation) const {
        const Settings& settings = operation.settings;
        for (const SettingRule& rule : operation.type->settings) {
            const std::string_view name = rule.name;
            if (name == "axis" && settings.whole("axis") == 0) return false;
            if (name == "axes" && settings.list("axes").front() == 0) return false;  // in order
            if ((name == "order" || name == "before" || name == "after") && settings.list(rule.name).front() != 0)
                return false;
        }
        return operation.type->lies != Lies::by_strides || program_.values[operation.output].shape.size() > 2;
    }

    const Program& program_;
    size_t items_;
};

}  // namespace

std::optional<size_t> find_items(const Program& program) {
    if (!program.states.empty()) return std::nullopt;  // which stay where they are
    for (const Port& input : program.inputs) {
        const auto& shape = program.values[input.value].shape;
        if (shape.empty() || shape[0].named() < 0) continue;
        const auto items = static_cast<size_t>(shape[0].named());
        if (Search(program, items).all_apart()) return items;
        return std::nullopt;
    }
    return std::nullopt;
}

// As many as leave each what caches hold, but none so small that reading the weights once more takes longer than what is
// spared: a slice computes at least as many bytes as that.
size_t worth_slices(size_t items, const CallBytes& bytes, size_t threads) {
    const size_t most = bytes.altogether / std::max<size_t>(bytes.shared, 1);
    return std::max<size_t>(1, std::min({items, ceil_div(bytes.at_a_time, cache_bytes * threads), most}));
}

}  // namespace sparbor
