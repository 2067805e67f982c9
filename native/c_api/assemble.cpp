// Which steps compute a program's values: steps.py in C++.
#include "assemble.h"

#include <limits>

#include "../convolution.h"
#include "../dense_choice.h"
#include "memory.h"
#include "rules.h"

namespace sparbor::model {
namespace {

// Makes the steps of a program's operations.
class Builder {
public:
    Builder(const Program& program, const KernelSet& kernels, const std::vector<Value>& values)
        : program_(program), kernels_(kernels), values_(values) {}

    std::unique_ptr<Step> step(const Operation& operation) const;

private:
    std::optional<Activation> activation(const Operation& operation) const;
    Geometry geometry(const Operation& operation) const;
    SparseArrays sparse_arrays(const Layer& layer, const std::vector<bool>& real) const;
    std::unique_ptr<Step> linear(const Operation& operation, Value x, Value y) const;
    std::unique_ptr<Step> convolution(const Operation& operation, Value x, Value y) const;
    std::unique_ptr<Step> pool(const Operation& operation, Value x, Value y) const;
    std::unique_ptr<Step> scale_shift(const Operation& operation, Value x, Value y) const;
    std::unique_ptr<Step> concat(const Operation& operation, Value y) const;

    const Program& program_;
    const KernelSet& kernels_;
    const std::vector<Value>& values_;
};

bool is_relu(const Operation& operation) { return operation.activation && operation.activation->name == "relu"; }

// What runs over what has been stored; where a ReLU is part of how a sum is stored, none.
std::optional<Activation> Builder::activation(const Operation& operation) const {
    if (!operation.activation || (is_relu(operation) && operation.op != Op::activation)) return std::nullopt;
    const auto [low, high] = operation.activation->parameters;
    const bool relu = is_relu(operation);
    const std::string& name = relu ? "clamp" : operation.activation->name;
    for (const NamedMap* each = kernels_.elementwise->maps; each->name; each++)
        if (name == each->name)
            return Activation{each->map, low, relu ? std::numeric_limits<float>::infinity() : high};
    throw std::logic_error("no activation named " + name);
}

Geometry Builder::geometry(const Operation& operation) const {
    const Shape &x = program_.shapes[operation.inputs[0]], &y = program_.shapes[operation.output];
    const auto planes = [](const Shape& shape) {
        const auto at = [&](size_t i) { return static_cast<int64_t>(shape[i]); };
        return shape.size() == 3 ? std::array{at(0), at(1), at(2)} : std::array{at(0), int64_t{1}, at(1)};
    };
    const auto in = planes(x), out = planes(y);
    const Window& w = operation.window;
    return {in[0], in[1], in[2], out[0], out[1], out[2], w.kernel[0], w.kernel[1], w.stride[0], w.stride[1],
            w.padding[0], w.padding[1], w.padding[2], w.padding[3], w.dilation[0], w.dilation[1], w.groups,
            w.upsample[0], w.upsample[1]};
}

SparseArrays Builder::sparse_arrays(const Layer& layer, const std::vector<bool>& real) const {
    bool padded = false;
    for_each_slot(layer, [&](uint64_t slot, uint64_t group, uint64_t) {
        for (size_t lane = 0; lane < group_size; lane++) {
            const uint64_t row = group * group_size + lane;
            padded |= row < real.size() && real[row] && is_padding(layer, slot, lane);
        }
    });
    const auto* runs = layer.data<uint16_t>("runs_per_group");
    return {{runs, runs + layer.parts.at("runs_per_group").count()},
            layer.data<uint16_t>("run_slots"),
            layer.data<uint16_t>("run_branches"),
            layer.data<uint16_t>("branches"),
            layer.data<uint16_t>("words"),
            layer.data<float>("weights"),
            layer.data<uint8_t>("indices"),
            layer.data<float>("scale"),
            layer.data<float>("bias"),
            padded};
}

std::unique_ptr<Step> Builder::linear(const Operation& operation, Value x, Value y) const {
    const Layer& layer = *program_.layer(operation);
    if (layer.kind == Layer::Kind::dense)
        return std::make_unique<DenseLinear>(x, y, layer.data<float>("panels"), layer.data<uint16_t>("halves"),
                                             layer.data<float>("scale"), layer.data<float>("bias"),
                                             is_relu(operation), activation(operation));
    const SparseArrays arrays = sparse_arrays(layer, std::vector<bool>(layer.outputs, true));
    return std::make_unique<SparseLinear>(x, y, arrays, is_relu(operation), activation(operation));
}

std::unique_ptr<Step> Builder::convolution(const Operation& operation, Value x, Value y) const {
    const Layer& layer = *program_.layer(operation);
    const Geometry shape = geometry(operation);
    if (layer.kind == Layer::Kind::filters) {
        const FilterArrays arrays{layer.data<float>("weights"), layer.data<uint16_t>("halves"),
                                  layer.data<float>("scale"), layer.data<float>("bias")};
        return make_dense_convolution(kernels_, x, y, shape, arrays, is_relu(operation), activation(operation));
    }
    const auto groups = static_cast<uint64_t>(shape.groups);
    const SparseArrays arrays = sparse_arrays(layer, real_rows(y.rows, groups));
    const size_t outputs = groups == 1 ? y.rows : arrays.runs_per_group.size() * group_size;
    return std::make_unique<SparseConvolution>(x, y, shape,
                                               std::make_unique<SparseMatrix>(arrays, outputs, is_relu(operation)),
                                               activation(operation));
}

std::unique_ptr<Step> Builder::pool(const Operation& operation, Value x, Value y) const {
    const Window& window = operation.window;
    const auto kind = operation.op == Op::max_pool            ? WindowPool::Kind::max
                      : operation.op == Op::average_pool      ? WindowPool::Kind::average
                      : operation.op == Op::adaptive_max_pool ? WindowPool::Kind::adaptive_max
                                                              : WindowPool::Kind::adaptive_average;
    Geometry shape = geometry(operation);
    if (operation.op == Op::adaptive_max_pool || operation.op == Op::adaptive_average_pool) shape.groups = shape.channels;
    return std::make_unique<WindowPool>(x, y, shape, kind, window.include_padding, static_cast<float>(window.divisor));
}

std::unique_ptr<Step> Builder::scale_shift(const Operation& operation, Value x, Value y) const {
    const Layer* layer = program_.layer(operation);
    const float* scale = layer ? layer->data<float>("scale") : nullptr;
    const float* shift = layer ? layer->data<float>("shift") : nullptr;
    if (operation.op == Op::affine) return std::make_unique<ScaleShift>(x, y, scale, shift);
    if (operation.op == Op::channel_affine) return std::make_unique<RowScaleShift>(x, y, scale, shift);
    return std::make_unique<LayerNorm>(x, y, scale, shift, operation.epsilon);
}

std::unique_ptr<Step> Builder::concat(const Operation& operation, Value y) const {
    std::vector<Value> parts;
    for (const uint64_t input : operation.inputs) parts.push_back(values_[input]);
    return std::make_unique<Concatenate>(std::move(parts), y);
}

std::unique_ptr<Step> Builder::step(const Operation& operation) const {
    const Value x = values_[operation.inputs[0]], y = values_[operation.output];
    switch (operation.op) {
        case Op::linear: return linear(operation, x, y);
        case Op::convolution: return convolution(operation, x, y);
        case Op::affine:
        case Op::channel_affine:
        case Op::layer_norm: return scale_shift(operation, x, y);
        case Op::activation: return std::make_unique<Apply>(x, y, *activation(operation));
        case Op::softmax: return std::make_unique<Softmax>(x, y);
        case Op::reshape: return std::make_unique<Reshape>(x, y);
        case Op::add:
            return std::make_unique<Add>(x, values_[operation.inputs[1]], y, is_relu(operation), activation(operation));
        case Op::concat: return concat(operation, y);
        case Op::max_pool:
        case Op::average_pool:
        case Op::adaptive_max_pool:
        case Op::adaptive_average_pool: return pool(operation, x, y);
    }
    no_other_operation();
}

}  // namespace

std::unique_ptr<Engine> assemble(const Program& program, const KernelSet& kernels, size_t threads) {
    const std::vector<Value> values = plan_buffers(program);
    check_buffers(program, values);
    check_steps(program);
    check_work(program);
    const Builder builder(program, kernels, values);
    std::vector<std::unique_ptr<Step>> steps;
    for (const Operation& operation : program.operations) {
        const bool stays = values[operation.inputs[0]].buffer == values[operation.output].buffer;
        if (!(stays && is_free(operation, values))) steps.push_back(builder.step(operation));
    }
    auto engine = std::make_unique<Engine>(kernels, threads, values, program.input, program.output, std::move(steps));
    if (!program.byte_scale.empty()) engine->set_byte_input(program.byte_scale, program.byte_shift);
    check_item(program, engine->workspaces().item_bytes() + engine->workspaces().scratch_bytes());
    return engine;
}

}  // namespace sparbor::model
