#include "ops/loops.h"

namespace sparbor {

Loops::Loops(const Shape& shape, const std::vector<std::vector<size_t>>& strides) : values_(strides.size()) {
    for (size_t i = shape.size(); i-- > 0;) {
        Around dimension{shape[i], {}};
        for (size_t value = 0; value < values_; value++) dimension.steps[value] = strides[value][i];
        if (shape[i] > 1) add(dimension);
    }
    if (!around_.empty()) {
        length_ = around_[0].size;
        steps_ = around_[0].steps;
        around_.erase(around_.begin());
    }
    for (const Around& each : around_) count_ *= each.size;
}

// The next dimension outwards, which is one with the last where all values go on where that ends.
void Loops::add(const Around& dimension) {
    bool goes_on = !around_.empty();
    for (size_t value = 0; goes_on && value < values_; value++)
        goes_on = dimension.steps[value] == around_.back().steps[value] * around_.back().size;
    if (goes_on) around_.back().size *= dimension.size;
    else around_.push_back(dimension);
}

Loops::Steps Loops::run(size_t number) const {
    Steps at{};
    for (const Around& each : around_) {
        const size_t index = number % each.size;
        number /= each.size;
        for (size_t value = 0; value < values_; value++) at[value] += index * each.steps[value];
    }
    return at;
}

std::vector<size_t> broadcast_strides(const Value& operand) {
    std::vector<size_t> strides = operand.strides;
    for (size_t i = 0; i < strides.size(); i++)
        if (operand.shape[i] == 1) strides[i] = 0;
    return strides;
}

Loops loops_over(const Value& y, const std::vector<Value>& x) {
    std::vector<std::vector<size_t>> strides{y.strides};
    for (const Value& each : x) strides.push_back(broadcast_strides(each));
    return {y.shape, strides};
}

}  // namespace sparbor
