// The memory that calls compute in, and the plans that they follow. A call takes a workspace and gives it back, so
// there are as many as calls have run at once, each with as much memory as the largest call that it was used for; they
// are kept for the next calls.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "plan/plan.h"

namespace sparbor {

class Workspace {
public:
    char* memory() const { return memory_; }
    float* scratch() const { return scratch_; }
    size_t thread_scratch() const { return thread_scratch_; }
    const Plan& plan() const { return *plans_.front(); }

private:
    friend class Workspaces;
    static constexpr size_t most_plans = 16;

    std::vector<std::unique_ptr<Plan>> plans_;  // the last one used first
    std::unique_ptr<float[]> allocated_;
    size_t bytes_ = 0;                  // allocated
    const Plan* reserved_for_ = nullptr;  // what the places below are those of
    char* memory_ = nullptr;
    float* scratch_ = nullptr;  // for each thread
    size_t thread_scratch_ = 0;
};

class Workspaces {
public:
    using PlanMaker = std::function<std::unique_ptr<Plan>(const Sizes&)>;
    Workspaces(size_t threads, PlanMaker make_plan);
    ~Workspaces();
    Workspaces(const Workspaces&) = delete;
    Workspaces& operator=(const Workspaces&) = delete;

    // One with the plan of these sizes, and with memory for it. Throws Refused if there can be no such plan, and
    // std::bad_alloc; calls go on as before after both.
    std::unique_ptr<Workspace> take(const Sizes& sizes);
    void give_back(std::unique_ptr<Workspace> workspace) noexcept;
    // One that is there, or a new one, whose plan may be of any sizes; and how it gets the plan of some, and memory.
    // So many bytes from the first on stay what they are, also if that throws, as `take` does.
    std::unique_ptr<Workspace> take_any();
    void prepare(Workspace& workspace, const Sizes& sizes, size_t kept_bytes);
    // Keeps a plan for the first call.
    void keep(std::unique_ptr<Plan> plan);

    size_t bytes() const { return bytes_; }  // of all that there are
    // Of the threads' scratch, in a call that follows the plan.
    size_t scratch_bytes(const Plan& plan) const { return thread_scratch(plan) * sizeof(float) * threads_; }

private:
    size_t bytes_for(const Plan& plan) const;
    void check_machine(const Plan& plan) const;  // throws std::bad_alloc if it has not so much memory
    std::unique_ptr<Plan> plan_of(const Sizes& sizes) const;
    void follow(Workspace& workspace, const Sizes& sizes) const;
    void reserve(Workspace& workspace, size_t kept_bytes);
    void grow(Workspace& workspace, size_t bytes, size_t kept_bytes);
    size_t thread_scratch(const Plan& plan) const;

    const size_t threads_;
    const PlanMaker make_plan_;
    std::atomic<size_t> bytes_{0};
    // Whoever exchanges a pointer for null owns it. A lock would stay locked in a process forked while it is held.
    std::array<std::atomic<Workspace*>, 64> idle_{};
};

// A workspace for as long as a call runs.
class Lease {
public:
    Lease(Workspaces& workspaces, const Sizes& sizes) : workspaces_(workspaces), workspace_(workspaces.take(sizes)) {}
    ~Lease() { workspaces_.give_back(std::move(workspace_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    const Workspace& operator*() const { return *workspace_; }
    const Workspace* operator->() const { return workspace_.get(); }

private:
    Workspaces& workspaces_;
    std::unique_ptr<Workspace> workspace_;
};

}  // namespace sparbor
