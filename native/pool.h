// A small persistent thread pool: the caller is one of its threads, workers spin briefly and then sleep.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace sparbor {

class Pool {
public:
    explicit Pool(size_t threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    size_t threads() const { return workers_.size() + 1; }

    // Calls part(i, threads()) for each i below threads(), on as many threads. If another caller has the pool, or the
    // process has forked and left the workers behind, the caller does all the work: part(0, 1).
    template <class Part>
    void run(const Part& part) {
        const auto call = [](const void* context, size_t i, size_t parts) {
            (*static_cast<const Part*>(context))(i, parts);
        };
        run(call, &part);
    }

private:
    using Call = void (*)(const void* context, size_t i, size_t parts);
    void run(Call call, const void* context);
    void work(size_t i);
    bool forked() const;

    std::vector<std::thread> workers_;
    std::mutex caller_;
    const int process_;
    Call call_ = nullptr;
    const void* context_ = nullptr;
    bool stop_ = false;
    alignas(64) std::atomic<uint32_t> round_{0};
    alignas(64) std::atomic<uint32_t> working_{0};
    alignas(64) std::atomic<uint32_t> asleep_{0};
};

}  // namespace sparbor
