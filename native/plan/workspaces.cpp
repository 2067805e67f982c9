#include "plan/workspaces.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>

#ifndef _WIN32
#include <unistd.h>
#endif

namespace sparbor {
namespace {

constexpr size_t alignment = 64;
constexpr size_t readable_beyond = 256;  // kernels read whole branches, also from within the last row
constexpr size_t floats_per_line = alignment / sizeof(float);

// The memory of this machine, or of the container. A system that promises more than it has kills the process that comes
// to use it; asking for less than all of it can still end so, but what is sure to can be refused.
size_t memory_there_is() {
    size_t bytes = std::numeric_limits<size_t>::max();
#ifdef _SC_PHYS_PAGES
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) bytes = static_cast<size_t>(pages) * static_cast<size_t>(page);
#endif
    size_t limit;
    if (std::ifstream("/sys/fs/cgroup/memory.max") >> limit) bytes = std::min(bytes, limit);
    return bytes;
}

char* aligned(float* memory) {
    return reinterpret_cast<char*>(memory) + (alignment - reinterpret_cast<uintptr_t>(memory) % alignment) % alignment;
}

}  // namespace

Workspaces::Workspaces(size_t threads, PlanMaker make_plan) : threads_(threads), make_plan_(std::move(make_plan)) {}

Workspaces::~Workspaces() {
    for (auto& slot : idle_) delete slot.load();
}

// Whole lines, and two more: threads neither share a line nor use the same ones of their first caches.
size_t Workspaces::thread_scratch(const Plan& plan) const {
    return plan.scratch_floats == 0 ? 0 : round_up(plan.scratch_floats, floats_per_line) + 2 * floats_per_line;
}

// With a line, to align the first value.
size_t Workspaces::bytes_for(const Plan& plan) const {
    return alignment + plan.bytes + scratch_bytes(plan) + readable_beyond;
}

void Workspaces::check_machine(const Plan& plan) const {
    const size_t most = memory_there_is();
    if (plan.bytes > most || thread_scratch(plan) > most / sizeof(float) / threads_ || bytes_for(plan) > most ||
        plan.bytes_aside > most)
        throw std::bad_alloc();
}

std::unique_ptr<Workspace> Workspaces::take(const Sizes& sizes) {
    std::unique_ptr<Workspace> workspace = take_any();
    try {
        prepare(*workspace, sizes, 0);
    } catch (...) {
        give_back(std::move(workspace));
        throw;
    }
    return workspace;
}

std::unique_ptr<Workspace> Workspaces::take_any() {
    for (auto& slot : idle_) {
        if (!slot.load(std::memory_order_relaxed)) continue;
        if (Workspace* const found = slot.exchange(nullptr, std::memory_order_acquire))
            return std::unique_ptr<Workspace>(found);
    }
    return std::make_unique<Workspace>();
}

void Workspaces::prepare(Workspace& workspace, const Sizes& sizes, size_t kept_bytes) {
    follow(workspace, sizes);
    reserve(workspace, kept_bytes);
}

std::unique_ptr<Plan> Workspaces::plan_of(const Sizes& sizes) const {
    try {
        return make_plan_(sizes);
    } catch (const Refused& refused) {  // the file is sound: it has a plan for other sizes
        throw Refused(refused.fault(), "call the model with sizes that its operations can have");
    }
}

// Brings the plan of these sizes to the front, or makes it.
void Workspaces::follow(Workspace& workspace, const Sizes& sizes) const {
    auto& plans = workspace.plans_;
    if (!plans.empty() && plans.front()->sizes == sizes) return;
    auto found = std::find_if(plans.begin(), plans.end(), [&](const auto& plan) { return plan->sizes == sizes; });
    if (found == plans.end()) {
        std::unique_ptr<Plan> plan = plan_of(sizes);
        check_machine(*plan);  // none is kept that cannot be followed
        if (plans.size() == Workspace::most_plans) plans.pop_back();  // not the front, which memory is reserved for
        found = plans.insert(plans.end(), std::move(plan));
    }
    std::rotate(plans.begin(), found, found + 1);
}

void Workspaces::keep(std::unique_ptr<Plan> plan) {
    std::unique_ptr<Workspace> workspace = take_any();
    workspace->plans_.insert(workspace->plans_.begin(), std::move(plan));
    give_back(std::move(workspace));
}

void Workspaces::grow(Workspace& workspace, size_t bytes, size_t kept_bytes) {
    workspace.reserved_for_ = nullptr;
    if (kept_bytes == 0) {  // the new one takes the old one's place
        bytes_ -= workspace.bytes_;
        workspace.bytes_ = 0;
        workspace.allocated_.reset();
    }
    auto allocated = std::make_unique<float[]>(bytes / sizeof(float));  // zeros
    char* const memory = aligned(allocated.get());
    if (kept_bytes > 0) std::memcpy(memory, workspace.memory_, kept_bytes);
    workspace.allocated_ = std::move(allocated);
    workspace.memory_ = memory;
    bytes_ += bytes - workspace.bytes_;
    workspace.bytes_ = bytes;
}

void Workspaces::reserve(Workspace& workspace, size_t kept_bytes) {
    const Plan& plan = workspace.plan();
    if (workspace.reserved_for_ == &plan) return;
    const size_t bytes = bytes_for(plan);
    if (bytes > workspace.bytes_) grow(workspace, bytes, kept_bytes);
    workspace.scratch_ = reinterpret_cast<float*>(workspace.memory_ + plan.bytes);  // whole lines
    workspace.thread_scratch_ = thread_scratch(plan);
    workspace.reserved_for_ = &plan;
}

void Workspaces::give_back(std::unique_ptr<Workspace> workspace) noexcept {
    for (auto& slot : idle_) {
        Workspace* empty = nullptr;
        if (slot.load(std::memory_order_relaxed)) continue;
        if (slot.compare_exchange_strong(empty, workspace.get(), std::memory_order_release)) {
            workspace.release();
            return;
        }
    }
    bytes_ -= workspace->bytes_;
}

}  // namespace sparbor
