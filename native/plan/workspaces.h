// The memory that calls compute in. A call takes a workspace and gives it back, so there are as many as calls have run
// at once, each as large as the largest batch it was used for; they are kept for the next calls.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

namespace sparbor {

struct Workspace {
    size_t batch;  // the largest that fits
    size_t bytes;
    std::unique_ptr<float[]> memory;
    std::vector<float*> buffers;
    float* scratch;  // for each thread
    size_t thread_scratch;
};

class Workspaces {
public:
    // How many floats each buffer needs for an item, and how many a thread needs for a batch; more for a larger one.
    Workspaces(std::vector<size_t> floats_per_item, size_t threads, std::function<size_t(size_t)> scratch_floats);
    ~Workspaces();
    Workspaces(const Workspaces&) = delete;
    Workspaces& operator=(const Workspaces&) = delete;

    // One that `batch` items fit into. Throws std::bad_alloc, after which calls go on as before.
    std::unique_ptr<Workspace> take(size_t batch);
    void give_back(std::unique_ptr<Workspace> workspace) noexcept;

    size_t bytes() const { return bytes_; }  // of all that there are
    size_t item_bytes() const { return item_floats_ * sizeof(float); }
    size_t scratch_bytes() const { return thread_scratch(1) * threads_ * sizeof(float); }  // for one item

private:
    size_t thread_scratch(size_t batch) const;
    std::unique_ptr<Workspace> make(size_t batch);
    void drop(std::unique_ptr<Workspace> workspace) noexcept;

    const std::vector<size_t> floats_per_item_;
    const size_t item_floats_, threads_;
    const std::function<size_t(size_t)> scratch_floats_;
    std::atomic<size_t> bytes_{0};
    // Whoever exchanges a pointer for null owns it. A lock would stay locked in a process forked while it is held.
    std::array<std::atomic<Workspace*>, 64> idle_{};
};

// A workspace for as long as a call runs.
class Lease {
public:
    Lease(Workspaces& workspaces, size_t batch) : workspaces_(workspaces), workspace_(workspaces.take(batch)) {}
    ~Lease() { workspaces_.give_back(std::move(workspace_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    const Workspace& operator*() const { return *workspace_; }

private:
    Workspaces& workspaces_;
    std::unique_ptr<Workspace> workspace_;
};

}  // namespace sparbor
