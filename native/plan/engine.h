// Runs a planned program: a list of steps over buffers whose sizes are known for each batch.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/kernels.h"
#include "plan/thread_pool.h"
#include "plan/workspaces.h"

namespace sparbor {

// Floats between two rows of a buffer: whole branches, and not a multiple of a page's quarter, because rows at such
// distances would compete for the same cache lines.
constexpr size_t row_stride(size_t features) {
    const size_t whole = round_up(features, branch_size);
    return whole % 256 == 0 ? whole + branch_size : whole;
}

// A value of the program: for each item of the batch, `rows` rows of `features` numbers in one of the buffers.
struct Value {
    size_t buffer;
    size_t rows;
    size_t features;
};

// What a step sees of one call.
class Call {
public:
    Call(const KernelSet& kernels, ThreadPool* pool, const Workspace& workspace, size_t batch)
        : kernels(kernels), batch(batch), pool_(pool), workspace_(workspace) {}

    const KernelSet& kernels;
    const size_t batch;

    float* data(const Value& value) const { return workspace_.buffers[value.buffer]; }
    float* data(const Value& value, size_t item) const {
        return data(value) + item * value.rows * row_stride(value.features);
    }
    // As much as the step has asked for, a thread, and aligned to cache lines.
    float* scratch(size_t thread = 0) const { return workspace_.scratch + thread * workspace_.thread_scratch; }
    size_t threads() const { return pool_ ? pool_->threads() : 1; }
    size_t rows(const Value& value) const { return value.rows * batch; }

    // Splits the indices below `count` over the threads if the work, in nanoseconds, pays for waking them:
    // part(first, last, thread).
    template <class Part>
    void split(size_t count, double work, const Part& part) const {
        if (!pool_ || work < worth_waking || count < 2) return part(size_t{0}, count, size_t{0});
        const size_t pieces = std::min(count, pieces_per_thread * pool_->threads());
        pool_->run(pieces, [&](size_t i, size_t thread) {
            part(count * i / pieces, count * (i + 1) / pieces, thread);
        });
    }

private:
    static constexpr double worth_waking = 20000;
    static constexpr size_t pieces_per_thread = 4;  // enough to even out what the threads get done
    ThreadPool* pool_;
    const Workspace& workspace_;
};

struct Step {
    virtual ~Step() = default;
    virtual void run(const Call& call) const = 0;
    virtual size_t scratch_floats(const KernelSet&, size_t) const { return 0; }  // a thread, for a batch
};

class Engine {
public:
    // `values[input]` receives what run() is given and `values[output]` is what it returns.
    Engine(const KernelSet& kernels, size_t threads, std::vector<Value> values, size_t input, size_t output,
           std::vector<std::unique_ptr<Step>> steps);

    // The model then also takes bytes: a byte of row r stands for byte · scale[r] + shift[r].
    void set_byte_input(std::vector<float> scale, std::vector<float> shift);
    bool takes_bytes() const { return !byte_scale_.empty(); }

    // x and y are contiguous: batch items of the input's and of the output's rows and features.
    void run(const float* x, float* y, size_t batch);
    void run(const uint8_t* x, float* y, size_t batch);

    const Workspaces& workspaces() const { return workspaces_; }

private:
    size_t scratch_floats(size_t batch) const;
    template <class CopyIn>
    void run_steps(const CopyIn& copy_in, float* y, size_t batch);

    const KernelSet& kernels_;
    std::vector<Value> values_;
    const size_t input_, output_;
    std::vector<float> byte_scale_, byte_shift_;  // a row each
    std::vector<std::unique_ptr<Step>> steps_;
    Workspaces workspaces_;
    std::unique_ptr<ThreadPool> pool_;
};

}  // namespace sparbor
