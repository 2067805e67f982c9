#include "memory.h"

#include <algorithm>
#include <limits>
#include <set>

namespace sparbor::model {
namespace {

// Rows of so many numbers; images have a row for each channel.
Value laid_out(const Shape& shape) {
    if (shape.size() < 2) return {0, 1, numbers_of(shape)};
    return {0, shape[0], numbers_of({shape.begin() + 1, shape.end()})};
}

// Whether an operation may write where it reads: it computes each number, or each row, from that place alone.
bool writes_in_place(Op op) {
    switch (op) {
        case Op::affine:
        case Op::channel_affine:
        case Op::layer_norm:
        case Op::activation:
        case Op::softmax:
        case Op::add: return true;
        case Op::linear:
        case Op::convolution:
        case Op::reshape:
        case Op::concat:
        case Op::max_pool:
        case Op::average_pool:
        case Op::adaptive_max_pool:
        case Op::adaptive_average_pool: return false;
    }
    no_other_operation();
}

uint64_t weight_bytes(const Program& program) {
    uint64_t sum = 0;
    for (const auto& [name, layer] : program.layers) sum += layer.bytes();
    return sum;
}

// What a model may allocate beside its own bytes, tied to them: shapes cost a file nothing.
class Allowance {
public:
    explicit Allowance(const Program& program) : most_((uint64_t{1} << 28) + 64 * weight_bytes(program)) {}
    void take(uint64_t bytes, const char* what) {
        taken_ += bytes;
        require(taken_ <= most_, std::string(what) + " needs more memory than its weights allow for");
    }

private:
    uint64_t most_, taken_ = 0;
};

// Of a layer's weights, padding included.
uint64_t places(const Layer& layer) {
    if (layer.kind != Layer::Kind::sparse) return layer.outputs * layer.fan_in;
    return layer.parts.at(layer.exact ? "weights" : "words").count();
}

double work_of(const Program& program, const Operation& operation) {
    const Shape &x = program.shapes[operation.inputs[0]], &y = program.shapes[operation.output];
    const auto outputs = static_cast<double>(numbers_of(y));
    switch (operation.op) {
        case Op::linear:
            return outputs / static_cast<double>(y.back()) * static_cast<double>(places(*program.layer(operation)));
        case Op::convolution:
            return outputs / static_cast<double>(y[0]) * static_cast<double>(places(*program.layer(operation)));
        case Op::max_pool:
        case Op::average_pool:
            return outputs * static_cast<double>(operation.window.kernel[0] * operation.window.kernel[1]);
        case Op::adaptive_max_pool:
        case Op::adaptive_average_pool:
            return outputs * static_cast<double>((x.size() == 3 ? x[1] / y[1] + 2 : 3) * (x.back() / y.back() + 2));
        case Op::affine:
        case Op::channel_affine:
        case Op::layer_norm:
        case Op::activation:
        case Op::softmax:
        case Op::reshape:
        case Op::add:
        case Op::concat: return outputs * static_cast<double>(operation.inputs.size());
    }
    no_other_operation();
}

}  // namespace

size_t numbers_of(const Shape& shape) { return *product(shape, std::numeric_limits<uint64_t>::max()); }

bool is_free(const Operation& operation, const std::vector<Value>& values) {
    const Value &x = values[operation.inputs[0]], &y = values[operation.output];
    return operation.op == Op::reshape && x.rows == y.rows && x.features == y.features;
}

// One is free again once its value has been used for the last time.
std::vector<Value> plan_buffers(const Program& program) {
    std::vector<Value> values;
    for (const Shape& shape : program.shapes) values.push_back(laid_out(shape));
    constexpr size_t never = std::numeric_limits<size_t>::max();
    std::vector<size_t> last_use(values.size(), never), free;
    for (size_t step = 0; step < program.operations.size(); step++)
        for (const uint64_t input : program.operations[step].inputs) last_use[input] = step;
    last_use[program.output] = program.operations.size();
    size_t count = 1;  // buffer 0 is the input's
    for (size_t step = 0; step < program.operations.size(); step++) {
        const Operation& operation = program.operations[step];
        std::set<size_t> ended;
        for (const uint64_t input : operation.inputs)
            if (last_use[input] == step) ended.insert(values[input].buffer);
        size_t& buffer = values[operation.output].buffer;
        if (!ended.empty() && (writes_in_place(operation.op) || is_free(operation, values))) {
            buffer = *ended.begin();
            ended.erase(ended.begin());
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

void check_buffers(const Program& program, const std::vector<Value>& values) {
    std::vector<uint64_t> largest(values.size() + 1);
    for (const Value& value : values)
        largest[value.buffer] = std::max<uint64_t>(largest[value.buffer], value.rows * row_stride(value.features));
    Allowance allowance(program);
    for (const uint64_t floats : largest) allowance.take(floats * sizeof(float), "one item");
}

void check_item(const Program& program, uint64_t bytes) { Allowance(program).take(bytes, "one item"); }

double work(const Program& program) {
    double sum = 0;
    for (const Operation& operation : program.operations) sum += work_of(program, operation);
    return sum;
}

void check_work(const Program& program) {
    const double most = 0x1p38 + 0x1p20 * static_cast<double>(weight_bytes(program));  // minutes, for a few bytes
    require(work(program) <= most, "one item needs more multiply-adds than its weights allow for");
}

void check_uses(const Program& program) {
    Allowance allowance(program);
    for (const Operation& operation : program.operations)
        if (operation.op == Op::linear || operation.op == Op::convolution)
            allowance.take(program.layer(operation)->bytes(), "what its operations use of its layers");
}

// A layer is laid out anew for each operation that uses it, and so is what a convolution's taps read.
void check_steps(const Program& program) {
    constexpr uint64_t most_padding = 16, output_bytes = 16;  // outputs that are padded; their scale, bias and group
    constexpr uint64_t most_taps = 1 << 14, most_tap_pairs = most_taps * most_taps, gather_bytes = 80;
    constexpr uint64_t wide = 16, most_gathers_of_wide = 2048;  // see Strips::make_tables
    Allowance allowance(program);
    uint64_t tap_pairs = 0;
    for (const Operation& operation : program.operations) {
        if (operation.op != Op::linear && operation.op != Op::convolution) continue;
        const Layer& layer = *program.layer(operation);
        const uint64_t copies = layer.kind == Layer::Kind::filters ? most_padding : 1;
        allowance.take(copies * layer.bytes() + output_bytes * layer.outputs, "what its layers are laid out in");
        if (operation.op == Op::linear) continue;
        const Shape& y = program.shapes[operation.output];
        const uint64_t taps = static_cast<uint64_t>(operation.window.kernel[0] * operation.window.kernel[1]);
        tap_pairs += taps > most_taps ? most_tap_pairs + 1 : taps * taps;  // a larger square could overflow
        require(tap_pairs <= most_tap_pairs, "its convolutions' kernels have too many pairs of taps");
        const uint64_t rows = y.size() == 3 ? y[1] : 1, gathers = taps * (2 * rows + 1);
        allowance.take(layer.fan_in * sizeof(uint32_t) + taps * sizeof(size_t) * 8, "a convolution");
        allowance.take(gather_bytes * (y.back() < wide ? gathers : most_gathers_of_wide), "a convolution");
    }
}

}  // namespace sparbor::model
