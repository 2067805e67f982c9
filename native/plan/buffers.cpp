#include "plan/buffers.h"

#include <limits>
#include <set>

namespace sparbor {
namespace {

constexpr size_t never = std::numeric_limits<size_t>::max();

// Rows of so many numbers; images have a row for each channel.
Value laid_out(const Shape& shape) {
    if (shape.size() < 2) return {0, 1, numbers_of(shape)};
    return {0, shape[0], numbers_of({shape.begin() + 1, shape.end()})};
}

bool lie_alike(const Value& x, const Value& y) { return x.rows == y.rows && x.features == y.features; }

// Whether the output may lie where an input does that nothing else reads any more.
bool may_alias(const OperatorType& type, const Value& x, const Value& y) {
    switch (type.aliasing) {
        case Aliasing::none: return false;
        case Aliasing::in_place:
        case Aliasing::view: return lie_alike(x, y);
    }
    throw std::logic_error("an operator's aliasing is none of those that there are");
}

// The step that reads each value last.
std::vector<size_t> last_uses(const Program& program) {
    std::vector<size_t> last(program.shapes.size(), never);
    for (size_t step = 0; step < program.operations.size(); step++)
        for (const uint64_t input : program.operations[step].inputs) last[input] = step;
    last[program.output] = program.operations.size();
    return last;
}

}  // namespace

bool is_view(const Operation& operation, const std::vector<Value>& values) {
    const Value &x = values[operation.inputs[0]], &y = values[operation.output];
    return operation.type->aliasing == Aliasing::view && x.buffer == y.buffer && lie_alike(x, y);
}

std::vector<Value> plan_buffers(const Program& program) {
    std::vector<Value> values;
    for (const Shape& shape : program.shapes) values.push_back(laid_out(shape));
    const std::vector<size_t> last_use = last_uses(program);
    std::vector<size_t> free;
    size_t count = 1;  // buffer 0 is the input's
    for (size_t step = 0; step < program.operations.size(); step++) {
        const Operation& operation = program.operations[step];
        std::set<size_t> ended, alike;
        for (const uint64_t input : operation.inputs) {
            if (last_use[input] != step) continue;
            ended.insert(values[input].buffer);
            if (may_alias(*operation.type, values[input], values[operation.output])) alike.insert(values[input].buffer);
        }
        size_t& buffer = values[operation.output].buffer;
        if (!alike.empty()) {
            buffer = *alike.begin();
            ended.erase(buffer);
        } else if (!free.empty()) {
            buffer = free.back();
            free.pop_back();
        } else {
            buffer = count++;
        }
        free.insert(free.end(), ended.begin(), ended.end());
        if (last_use[operation.output] == never) free.push_back(buffer);
    }
    return values;
}

}  // namespace sparbor
