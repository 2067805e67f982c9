#include "engine.h"

#include <algorithm>
#include <cstring>

namespace sparbor {
namespace {

void copy_in(const float* x, const Value& value, float* rows, size_t count) {
    const size_t stride = row_stride(value.features);
    for (size_t i = 0; i < count; i++)
        std::memcpy(rows + i * stride, x + i * value.features, value.features * sizeof(float));
}

void copy_out(const float* rows, const Value& value, float* y, size_t count) {
    const size_t stride = row_stride(value.features);
    for (size_t i = 0; i < count; i++)
        std::memcpy(y + i * value.features, rows + i * stride, value.features * sizeof(float));
}

// How many floats each buffer needs for an item: as many as the largest of its values.
std::vector<size_t> floats_per_item(const std::vector<Value>& values) {
    std::vector<size_t> floats;
    for (const Value& value : values) {
        if (floats.size() <= value.buffer) floats.resize(value.buffer + 1);
        floats[value.buffer] = std::max(floats[value.buffer], value.rows * row_stride(value.features));
    }
    return floats;
}

size_t scratch_floats(const std::vector<std::unique_ptr<Step>>& steps, const KernelSet& kernels) {
    size_t floats = 0;
    for (const auto& step : steps) floats = std::max(floats, step->scratch_floats(kernels));
    return floats;
}

}  // namespace

Engine::Engine(const KernelSet& kernels, size_t threads, std::vector<Value> values, size_t input, size_t output,
               std::vector<std::unique_ptr<Step>> steps)
    : kernels_(kernels), values_(std::move(values)), input_(input), output_(output), steps_(std::move(steps)),
      workspaces_(floats_per_item(values_), scratch_floats(steps_, kernels_)),
      pool_(threads > 1 ? std::make_unique<Pool>(threads) : nullptr) {}

void Engine::run(const float* x, float* y, size_t batch) {
    const Lease workspace(workspaces_, batch);
    const Call call(kernels_, pool_.get(), workspace->buffers.data(), workspace->scratch, batch);
    const Value &input = values_[input_], &output = values_[output_];
    copy_in(x, input, call.data(input), call.rows(input));
    for (const auto& step : steps_) step->run(call);
    copy_out(call.data(output), output, y, call.rows(output));
}

}  // namespace sparbor
