#include "plan/workspaces.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <new>
#include <numeric>

#ifndef _WIN32
#include <unistd.h>
#endif

namespace sparbor {
namespace {

constexpr size_t alignment = 64;
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

}  // namespace

Workspaces::Workspaces(std::vector<size_t> floats_per_item, size_t threads,
                       std::function<size_t(size_t)> scratch_floats)
    : floats_per_item_(std::move(floats_per_item)),
      item_floats_(std::accumulate(floats_per_item_.begin(), floats_per_item_.end(), size_t{0})), threads_(threads),
      scratch_floats_(std::move(scratch_floats)) {}

// Whole lines, and two more: threads neither share a line nor use the same ones of their first caches.
size_t Workspaces::thread_scratch(size_t batch) const {
    const size_t floats = scratch_floats_(batch);
    return floats == 0 ? 0 : (floats + floats_per_line - 1) / floats_per_line * floats_per_line + 2 * floats_per_line;
}

Workspaces::~Workspaces() {
    for (auto& slot : idle_) delete slot.load();
}

std::unique_ptr<Workspace> Workspaces::take(size_t batch) {
    std::unique_ptr<Workspace> small;
    for (auto& slot : idle_) {
        if (!slot.load(std::memory_order_relaxed)) continue;
        std::unique_ptr<Workspace> found(slot.exchange(nullptr, std::memory_order_acquire));
        if (!found) continue;
        std::swap(small, found);  // `found` is now an earlier one that was too small, or none
        if (found) give_back(std::move(found));
        if (small->batch >= batch) return small;
    }
    if (small) drop(std::move(small));  // the new one takes its place
    return make(batch);
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
    drop(std::move(workspace));
}

std::unique_ptr<Workspace> Workspaces::make(size_t batch) {
    const size_t shared = floats_per_line + thread_scratch(batch) * threads_;  // a line, to align the first buffer
    const size_t most = memory_there_is() / sizeof(float);
    if (shared > most || (item_floats_ > 0 && batch > (most - shared) / item_floats_)) throw std::bad_alloc();

    auto made = std::make_unique<Workspace>();
    const size_t floats = shared + item_floats_ * batch;
    made->batch = batch;
    made->bytes = floats * sizeof(float);
    made->memory = std::make_unique<float[]>(floats);  // zeros
    const auto address = reinterpret_cast<uintptr_t>(made->memory.get());
    float* at = made->memory.get() + (alignment - address % alignment) % alignment / sizeof(float);
    for (const size_t each : floats_per_item_) {
        made->buffers.push_back(at);
        at += each * batch;
    }
    made->scratch = at;  // on a line as well: a buffer's rows are whole lines
    made->thread_scratch = thread_scratch(batch);
    bytes_ += made->bytes;
    return made;
}

void Workspaces::drop(std::unique_ptr<Workspace> workspace) noexcept { bytes_ -= workspace->bytes; }

}  // namespace sparbor
