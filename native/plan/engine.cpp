#include "plan/engine.h"

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

}  // namespace

Engine::Engine(const KernelSet& kernels, size_t threads, std::vector<Value> values, size_t input, size_t output,
               std::vector<std::unique_ptr<Step>> steps)
    : kernels_(kernels), values_(std::move(values)), input_(input), output_(output), steps_(std::move(steps)),
      workspaces_(floats_per_item(values_), threads, [this](size_t batch) { return scratch_floats(batch); }),
      pool_(threads > 1 ? std::make_unique<ThreadPool>(threads) : nullptr) {}

size_t Engine::scratch_floats(size_t batch) const {
    size_t floats = 0;
    for (const auto& step : steps_) floats = std::max(floats, step->scratch_floats(kernels_, batch));
    return floats;
}

void Engine::set_byte_input(std::vector<float> scale, std::vector<float> shift) {
    byte_scale_ = std::move(scale);
    byte_shift_ = std::move(shift);
    byte_scale_.resize(values_[input_].rows, byte_scale_.front());
    byte_shift_.resize(values_[input_].rows, byte_shift_.front());
}

template <class CopyIn>
void Engine::run_steps(const CopyIn& copy_in, float* y, size_t batch) {
    const Lease workspace(workspaces_, batch);
    const Call call(kernels_, pool_.get(), *workspace, batch);
    const Value &input = values_[input_], &output = values_[output_];
    copy_in(call.data(input), call.rows(input));
    for (const auto& step : steps_) step->run(call);
    copy_out(call.data(output), output, y, call.rows(output));
}

void Engine::run(const float* x, float* y, size_t batch) {
    run_steps([&](float* to, size_t rows) { copy_in(x, values_[input_], to, rows); }, y, batch);
}

void Engine::run(const uint8_t* x, float* y, size_t batch) {
    const Value& input = values_[input_];
    const auto from_bytes = [&](float* to, size_t rows) {
        for (size_t row = 0; row < rows; row++) {
            const size_t channel = row % input.rows;
            kernels_.elementwise->from_bytes(x + row * input.features, byte_scale_[channel], byte_shift_[channel],
                                             to + row * row_stride(input.features), input.features);
        }
    };
    run_steps(from_bytes, y, batch);
}

}  // namespace sparbor
