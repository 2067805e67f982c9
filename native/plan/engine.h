// Runs a program: for the sizes of a call there is a plan, which is a list of steps.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/kernels.h"
#include "plan/call.h"
#include "plan/thread_pool.h"
#include "plan/workspaces.h"

namespace sparbor {

enum class Threads { own, callers };

class Engine {
public:
    // It points into the program's tensors. Layers run sparse or dense, whichever is faster, or `as_stored`. Throws
    // Refused if the program would need more memory or work than its weights make likely, and std::runtime_error if the
    // system does not start so many threads, which are the engine's own or those of its callers.
    Engine(const Program& program, const KernelSet& kernels, size_t threads, bool as_stored = false,
           Threads whose = Threads::own);

    const Program& program() const { return program_; }
    bool takes_bytes() const { return !program_.byte_scale.empty(); }

    // What one call runs in: the plan has the shapes of its outputs. Throws as `Workspaces::take`.
    Lease prepare(const Sizes& sizes) { return Lease(workspaces_, sizes); }
    // In the order of the program's inputs and outputs. Those without a place are left out, as a session's states are,
    // which lie in the workspace. `steps` counts those that have run, also if one of them throws. `callers` are no more
    // threads than the engine was made for; without them it is its own.
    void run(const Workspace& workspace, const Given* inputs, void* const* outputs, size_t& steps,
             Workers* callers = nullptr) const;
    void run(const Lease& lease, const Given* inputs, void* const* outputs, Workers* callers = nullptr) const {
        size_t steps = 0;
        run(*lease, inputs, outputs, steps, callers);
    }
    // Whether a call is over before another thread of the caller could gain by what this one lets go of.
    bool is_brief(const Plan& plan) const { return !pool_ && plan.work < most_brief_work; }
    const KernelSet& kernels() const { return kernels_; }
    Workspaces& workspaces() { return workspaces_; }

    // Of the values for sizes of 1.
    size_t item_bytes() const { return item_bytes_; }
    size_t workspace_bytes() const { return workspaces_.bytes(); }
    // How each layer runs with these sizes. Throws as `prepare`.
    std::map<std::string, const char*> ways(const Sizes& sizes) { return plan_for(sizes)->ways; }

private:
    static constexpr double most_brief_work = 0x1p16;  // a microsecond or two, with AVX-512

    std::unique_ptr<Plan> plan_for(const Sizes& sizes) {
        return make_plan(program_, kernels_, sizes, layers_, planning_);
    }
    void run_slices(const Workspace& workspace, const Given* inputs, void* const* outputs, Workers* workers) const;
    // The input that a call does not copy, or null.
    static const void* left_there(const Plan& plan, const Given* inputs);
    // What a plan in one piece says.
    void run_steps(const Plan& plan, const Call& call, const Given* inputs, void* const* outputs, size_t& steps) const;
    void copy_in(const PortCopy& input, const Given& given, char* memory) const;
    void copy_bytes(const Matrix& to, const uint8_t* bytes, char* memory) const;

    const Program& program_;
    const KernelSet& kernels_;
    const Planning planning_;
    std::vector<LaidOut> layers_;  // an operation each
    Workspaces workspaces_;
    std::unique_ptr<ThreadPool> pool_;
    size_t item_bytes_;
};

}  // namespace sparbor
