// Runs a planned program: a list of steps over buffers whose sizes are known for each batch.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "kernels.h"
#include "pool.h"
#include "workspaces.h"

namespace sparbor {

// Floats between two rows of a buffer: whole branches, and not a multiple of a page's quarter, because rows at such
// distances would compete for the same cache lines.
constexpr size_t row_stride(size_t features) {
    const size_t whole = (features + branch_size - 1) / branch_size * branch_size;
    return whole % 256 == 0 ? whole + branch_size : whole;
}

// A value of the program: for each item of the batch, `rows` rows of `features` numbers in one of the buffers.
struct Value {
    size_t buffer;
    size_t rows;
    size_t features;
};

struct Activation {
    MapKernel map;
    float a, b;
};

// What a step sees of one call.
class Call {
public:
    Call(const KernelSet& kernels, Pool* pool, float* const* buffers, float* scratch, size_t batch)
        : kernels(kernels), batch(batch), scratch(scratch), pool_(pool), buffers_(buffers) {}

    const KernelSet& kernels;
    const size_t batch;
    float* const scratch;  // as much as the step has asked for

    float* data(const Value& value) const { return buffers_[value.buffer]; }
    size_t rows(const Value& value) const { return value.rows * batch; }

    // Splits the indices below `count` over the threads if the work, in nanoseconds, pays for waking them.
    template <class Part>
    void split(size_t count, double work, const Part& part) const {
        if (!pool_ || work < worth_waking || count < 2) return part(size_t{0}, count);
        const size_t pieces = std::min(count, pieces_per_thread * pool_->threads());
        pool_->run(pieces, [&](size_t i) { part(count * i / pieces, count * (i + 1) / pieces); });
    }

private:
    static constexpr double worth_waking = 20000;
    static constexpr size_t pieces_per_thread = 4;  // enough to even out what the threads get done
    Pool* pool_;
    float* const* buffers_;
};

struct Step {
    virtual ~Step() = default;
    virtual void run(const Call& call) const = 0;
    virtual size_t scratch_floats(const KernelSet&) const { return 0; }
};

class Engine {
public:
    // `values[input]` receives what run() is given and `values[output]` is what it returns.
    Engine(const KernelSet& kernels, size_t threads, std::vector<Value> values, size_t input, size_t output,
           std::vector<std::unique_ptr<Step>> steps);

    // x and y are contiguous: batch items of the input's and of the output's rows and features.
    void run(const float* x, float* y, size_t batch);

    const Workspaces& workspaces() const { return workspaces_; }

private:
    const KernelSet& kernels_;
    std::vector<Value> values_;
    const size_t input_, output_;
    std::vector<std::unique_ptr<Step>> steps_;
    Workspaces workspaces_;
    std::unique_ptr<Pool> pool_;
};

}  // namespace sparbor
