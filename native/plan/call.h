// What a step sees of one call.
#pragma once

#include <algorithm>

#include "kernels/kernels.h"
#include "plan/value.h"
#include "plan/workers.h"

namespace sparbor {

class Call {
public:
    Call(const KernelSet& kernels, Workers* workers, char* memory, float* scratch, size_t thread_scratch,
         const void* given = nullptr, size_t first_item = 0)
        : kernels(kernels), first_item(first_item), given_(given), workers_(workers), memory_(memory), scratch_(scratch),
          thread_scratch_(thread_scratch) {}

    const KernelSet& kernels;
    const size_t first_item;  // the caller's number of the first one here, for errors to name

    char* memory() const { return memory_; }
    // The input where the caller has it, without gaps; null if it has been copied to where it lies here.
    const void* given() const { return given_; }
    float* data(const Matrix& matrix) const { return reinterpret_cast<float*>(memory_) + matrix.offset; }
    float* data(const Matrix& matrix, size_t item) const {
        return data(matrix) + item * matrix.item_rows * matrix.stride;
    }
    // As much as the step has asked for, a thread, and aligned to cache lines.
    float* scratch(size_t thread = 0) const { return scratch_ + thread * thread_scratch_; }
    size_t threads() const { return workers_ ? workers_->threads() : 1; }

    // Splits the indices below `count` over the threads if the work, in nanoseconds, pays for waking them:
    // part(first, last, thread).
    template <class Part>
    void split(size_t count, double work, const Part& part) const {
        if (!workers_ || work < worth_waking || count < 2) return part(size_t{0}, count, size_t{0});
        const size_t pieces = std::min(count, pieces_per_thread * workers_->threads());
        workers_->run(pieces, [&](size_t i, size_t thread) {
            part(count * i / pieces, count * (i + 1) / pieces, thread);
        });
    }

private:
    static constexpr double worth_waking = 20000;
    static constexpr size_t pieces_per_thread = 4;  // enough to even out what the threads get done
    const void* given_;
    Workers* workers_;
    char* memory_;
    float* scratch_;
    size_t thread_scratch_;
};

struct Step {
    virtual ~Step() = default;
    virtual void run(const Call& call) const = 0;
    virtual size_t scratch_floats() const { return 0; }  // of a thread
    // Said when a plan is made: the step that always runs right before, which leaves the scratch as this one finds it.
    virtual void comes_after(const Step&) {}
    // Likewise, of the first step, if no other reads the program's only input: whether it reads `Call::given` if there
    // is one, and no number but the input's.
    virtual bool takes_given() { return false; }
    virtual const char* way() const { return "dense"; }  // how it computes with its layer, if it has one
};

}  // namespace sparbor
