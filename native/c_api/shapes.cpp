// Which shapes each operation takes, and to which: shape_rules.py and windows.py in C++.
#include <algorithm>
#include <cstdlib>

#include "rules.h"

namespace sparbor::model {
namespace {

constexpr int64_t largest_step = 1 << 16;
constexpr int64_t largest_padded = 1 << 26;  // numbers of all planes of one item, padding included

struct Planes {
    int64_t channels, size[2];  // height, width
};

bool has_planes(const Shape& shape) { return shape.size() == 2 || shape.size() == 3; }

Planes planes_of(const Shape& shape) {
    const auto at = [&](size_t i) { return static_cast<int64_t>(shape[i]); };
    return shape.size() == 3 ? Planes{at(0), {at(1), at(2)}} : Planes{at(0), {1, at(1)}};
}

// Throws what is wrong with an operation.
class Check {
public:
    explicit Check(const Operation& operation) : kind_(operation.kind) {}
    void operator()(bool holds, const char* fault = "") const {
        if (!holds) require(false, "operation '" + kind_ + "' cannot take its inputs' shapes to its output's" + fault);
    }

private:
    const std::string& kind_;
};

// Of the plane with what lies between its pixels and around them.
int64_t padded(const Window& window, const Planes& planes, size_t axis) {
    return (planes.size[axis] - 1) * window.upsample[axis] + 1 + window.padding[axis] + window.padding[axis + 2];
}

// From the first place of the window to its last.
int64_t travel(const Window& window, const Planes& planes, size_t axis) {
    return padded(window, planes, axis) - window.dilation[axis] * (window.kernel[axis] - 1) - 1;
}

int64_t floor_div(int64_t value, int64_t divisor) { return value / divisor - (value % divisor < 0); }

int64_t steps(const Window& window, const Planes& planes, size_t axis) {
    return floor_div(travel(window, planes, axis), window.stride[axis]) + 1;
}

// The same if a last window may run over the edge; it starts in the plane.
int64_t steps_with_a_last(const Window& window, const Planes& planes, size_t axis) {
    const int64_t stride = window.stride[axis];
    return std::min(-floor_div(-travel(window, planes, axis), stride) + 1,
                    -floor_div(-(window.padding[axis] + planes.size[axis]), stride));
}

void check_window(const Check& check, const Window& window, const Shape& x, const Shape& y) {
    for (const auto* pair : {&window.kernel, &window.stride, &window.dilation, &window.upsample})
        for (const int64_t step : *pair) check(step >= 1 && step <= largest_step, ": its steps are out of bounds");
    for (const int64_t side : window.padding)
        check(side >= -largest_step && side <= largest_step, ": its padding is out of bounds");
    check(has_planes(x) && y.size() == x.size(), ": they are no planes");
    const Planes from = planes_of(x), to = planes_of(y);
    check(window.groups >= 1 && from.channels % window.groups == 0 && to.channels % window.groups == 0,
          ": its groups do not divide the channels");
    const int64_t height = padded(window, from, 0), width = padded(window, from, 1);
    check(height >= 1 && width >= 1 && height <= largest_padded / from.channels / width,
          ": its padded planes are empty or too large");
}

void check_pool(const Check& check, const Operation& operation, const Shape& x, const Shape& y) {
    const Window& window = operation.window;
    check_window(check, window, x, y);
    const Planes from = planes_of(x), to = planes_of(y);
    check(window.groups == from.channels && to.channels == from.channels && window.upsample[0] == 1 &&
              window.upsample[1] == 1, ": it does not pool each channel by itself");
    for (size_t i = 0; i < 4; i++)
        check(window.padding[i] >= 0 && 2 * window.padding[i] <= window.kernel[i % 2],
              ": its padding is more than half its kernel, or negative");
    for (size_t axis = 0; axis < 2; axis++)
        check(to.size[axis] == steps(window, from, axis) || to.size[axis] == steps_with_a_last(window, from, axis),
              ": its outputs are other pixels");
    if (operation.op == Op::average_pool)
        check(window.divisor >= 0 && window.dilation[0] == 1 && window.dilation[1] == 1,
              ": it averages with a divisor or a dilation that it cannot");
}

void check_stray_synapses(const Check& check, const Layer& layer, uint64_t outputs, uint64_t groups) {
    const std::vector<bool> real = real_rows(outputs, groups);
    check(layer.outputs == real.size(), ": its layer has other rows");
    bool stray = false;
    for_each_slot(layer, [&](uint64_t slot, uint64_t group, uint64_t) {
        for (size_t lane = 0; lane < group_size; lane++) {
            const uint64_t row = group * group_size + lane;
            stray |= row < real.size() && !real[row] && !is_padding(layer, slot, lane);
        }
    });
    check(!stray, ": a synapse belongs to a neuron that only fills its group");
}

void check_convolution(const Check& check, const Operation& operation, const Shape& x, const Shape& y,
                       const Layer& layer) {
    const Window& window = operation.window;
    check_window(check, window, x, y);
    const Planes from = planes_of(x), to = planes_of(y);
    for (size_t axis = 0; axis < 2; axis++)
        check(steps(window, from, axis) == to.size[axis], ": its outputs are other pixels");
    check(layer.kind == Layer::Kind::sparse || layer.kind == Layer::Kind::filters, ": its layer is not a convolution's");
    const int64_t fan_in = from.channels / window.groups * window.kernel[0] * window.kernel[1];
    check(layer.fan_in == static_cast<uint64_t>(fan_in), ": its layer has another fan-in");
    if (layer.kind == Layer::Kind::sparse)
        check_stray_synapses(check, layer, y[0], static_cast<uint64_t>(window.groups));
    else check(layer.outputs == y[0]);
}

void check_linear(const Check& check, const Shape& x, const Shape& y, const Layer& layer) {
    const bool linear = layer.kind == Layer::Kind::sparse || layer.kind == Layer::Kind::dense;
    check(linear, ": its layer is not a linear one");
    check(x.size() == 1 || x.size() == 2);
    Shape wanted = x;
    wanted.back() = layer.outputs;
    check(x.back() == layer.fan_in && y == wanted);
}

void check_concat(const Check& check, const Operation& operation, const std::vector<Shape>& shapes, const Shape& y) {
    check(!y.empty());
    uint64_t sum = 0;
    for (const uint64_t input : operation.inputs) {
        const Shape& x = shapes[input];
        check(x.size() == y.size() && std::equal(x.begin() + 1, x.end(), y.begin() + 1));
        sum += x[0];
        check(sum <= y[0]);
    }
    check(sum == y[0]);
}

bool is_affine(const Layer* layer, uint64_t features) {
    return layer->kind == Layer::Kind::affine && layer->outputs == features;
}

}  // namespace

void check_shapes(const Operation& operation, const Program& program) {
    const Check check(operation);
    const Shape &x = program.shapes[operation.inputs[0]], &y = program.shapes[operation.output];
    const Layer* layer = program.layer(operation);
    const bool rows = y.size() == 1 || y.size() == 2;
    switch (operation.op) {
        case Op::linear: return check_linear(check, x, y, *layer);
        case Op::convolution: return check_convolution(check, operation, x, y, *layer);
        case Op::affine: return check(x == y && rows && is_affine(layer, x.back()));
        case Op::channel_affine: return check(x == y && x.size() > 1 && is_affine(layer, x[0]));
        case Op::layer_norm: return check(x == y && rows && (!layer || is_affine(layer, x.back())));
        case Op::softmax: return check(x == y && rows);
        case Op::activation: return check(x == y);
        case Op::add: return check(x == y && program.shapes[operation.inputs[1]] == y);
        case Op::reshape: return check(product(x, UINT64_MAX) == product(y, UINT64_MAX));
        case Op::concat: return check_concat(check, operation, program.shapes, y);
        case Op::max_pool:
        case Op::average_pool: return check_pool(check, operation, x, y);
        case Op::adaptive_max_pool:
        case Op::adaptive_average_pool: return check(has_planes(x) && x.size() == y.size() && x[0] == y[0]);
    }
    no_other_operation();
}

std::vector<bool> real_rows(uint64_t outputs, uint64_t groups) {
    if (groups == 1) return std::vector<bool>(outputs, true);
    const uint64_t each = outputs / groups, whole = ceil_div(each, group_size) * group_size;
    std::vector<bool> real(groups * whole);
    for (uint64_t row = 0; row < real.size(); row++) real[row] = row % whole < each;
    return real;
}

void use_rows_only(Program& program) {
    const auto flat = [&](const Shape& shape) {
        program.shapes.push_back({*product({shape.begin(), shape.end() - 1}, UINT64_MAX), shape.back()});
        return program.shapes.size() - 1;
    };
    std::vector<Operation> operations;
    for (Operation& operation : program.operations) {
        const Shape x = program.shapes[operation.inputs[0]], y = program.shapes[operation.output];
        const bool of_rows = operation.op == Op::linear || operation.op == Op::affine || operation.op == Op::softmax;
        if (!of_rows || x.size() <= 2 || x.size() != y.size()) {
            operations.push_back(std::move(operation));
            continue;
        }
        const uint64_t flat_x = flat(x), flat_y = flat(y), result = operation.output;
        Operation reshape{};
        reshape.op = Op::reshape;
        reshape.kind = "reshape";
        reshape.inputs = operation.inputs;
        reshape.output = flat_x;
        operations.push_back(reshape);
        operation.inputs = {flat_x};
        operation.output = flat_y;
        operations.push_back(std::move(operation));
        reshape.inputs = {flat_y};
        reshape.output = result;
        operations.push_back(reshape);
    }
    program.operations = std::move(operations);
}

}  // namespace sparbor::model
