// A small persistent thread pool. The caller is one of its threads and takes pieces of the job like the others, so a
// worker that the system does not let run costs nothing but its help. Idle workers spin briefly and then sleep.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "plan/workers.h"

namespace sparbor {

class ThreadPool final : public Workers {
public:
    // Throws std::runtime_error, which says how many it could start, if the system does not let it start all of them.
    explicit ThreadPool(size_t threads);
    ~ThreadPool() override;
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    size_t threads() const override { return workers_.size() + 1; }

private:
    // The caller is thread 0. If another caller has the pool, or the process has forked and left the workers behind, the
    // caller does it all.
    void run_pieces(size_t pieces, PieceCall call, const void* context) override;
    void stop();
    void work(size_t thread);
    void take_pieces(size_t thread);
    bool forked() const;

    std::vector<std::thread> workers_;
    std::mutex caller_;
    const int process_;
    PieceCall call_ = nullptr;  // the job, which changes only while nobody is inside
    const void* context_ = nullptr;
    size_t pieces_ = 0;
    alignas(64) std::atomic<size_t> next_{0};
    alignas(64) std::atomic<bool> open_{false};
    alignas(64) std::atomic<uint32_t> inside_{0};  // workers that may be looking at the job
    alignas(64) std::atomic<uint32_t> round_{0};   // counts jobs, for idle workers to watch
    alignas(64) std::atomic<uint32_t> asleep_{0};
    std::atomic<bool> stop_{false};
};

}  // namespace sparbor
