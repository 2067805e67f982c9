#include "engine.h"

#include <algorithm>
#include <cstring>

namespace sparbor {
namespace {

constexpr size_t alignment = 64;
constexpr size_t floats_per_line = alignment / sizeof(float);

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

}  // namespace

Engine::Engine(const KernelSet& kernels, size_t threads, std::vector<Value> values, size_t input, size_t output,
               std::vector<std::unique_ptr<Step>> steps)
    : kernels_(kernels), values_(std::move(values)), input_(input), output_(output), steps_(std::move(steps)) {
    for (const Value& value : values_) {
        if (floats_per_item_.size() <= value.buffer) floats_per_item_.resize(value.buffer + 1);
        size_t& floats = floats_per_item_[value.buffer];
        floats = std::max(floats, value.rows * row_stride(value.features));
    }
    for (const auto& step : steps_) scratch_floats_ = std::max(scratch_floats_, step->scratch_floats(kernels_));
    if (threads > 1) pool_ = std::make_unique<Pool>(threads);
}

void Engine::allocate(Workspace& workspace, size_t batch) {
    size_t floats = floats_per_line + scratch_floats_;  // a line, to align the first buffer
    for (const size_t each : floats_per_item_) floats += each * batch;
    workspace.memory.reset();
    workspace.memory = std::make_unique<float[]>(floats);  // zeros
    workspace.bytes = floats * sizeof(float);
    workspace.batch = batch;
    const auto address = reinterpret_cast<uintptr_t>(workspace.memory.get());
    float* at = workspace.memory.get() + (alignment - address % alignment) % alignment / sizeof(float);
    workspace.buffers.clear();
    for (const size_t each : floats_per_item_) {
        workspace.buffers.push_back(at);
        at += each * batch;
    }
    workspace.scratch = at;
    allocations_++;
}

Engine::Workspace& Engine::workspace(size_t batch) {
    const std::thread::id self = std::this_thread::get_id();
    Workspace* mine = nullptr;
    {
        const std::lock_guard<std::mutex> lock(workspaces_lock_);
        for (const auto& each : workspaces_)
            if (each->owner == self) mine = each.get();
        if (!mine) {
            workspaces_.push_back(std::make_unique<Workspace>());
            mine = workspaces_.back().get();
            mine->owner = self;
        }
    }
    if (mine->batch < batch) allocate(*mine, batch);
    return *mine;
}

size_t Engine::workspace_bytes() {
    const std::lock_guard<std::mutex> lock(workspaces_lock_);
    size_t bytes = 0;
    for (const auto& each : workspaces_) bytes += each->bytes;
    return bytes;
}

void Engine::run(const float* x, float* y, size_t batch) {
    const Workspace& mine = workspace(batch);
    const Call call(kernels_, pool_.get(), mine.buffers.data(), mine.scratch, batch);
    const Value &input = values_[input_], &output = values_[output_];
    copy_in(x, input, call.data(input), call.rows(input));
    for (const auto& step : steps_) step->run(call);
    copy_out(call.data(output), output, y, call.rows(output));
}

}  // namespace sparbor
