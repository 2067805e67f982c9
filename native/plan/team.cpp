#include "plan/team.h"

#include <algorithm>
#include <exception>
#include <memory>

namespace sparbor {
namespace {

// The pool for so many threads. It is kept for the next call; callers at the same time share it.
std::shared_ptr<ThreadPool> pool_of(size_t threads) {
    static std::mutex lock;
    static std::shared_ptr<ThreadPool> kept;
    const std::lock_guard<std::mutex> alone(lock);
    if (!kept || kept->threads() != threads) kept = std::make_shared<ThreadPool>(threads);
    return kept;
}

}  // namespace

Team::Team(Parallel parallel, size_t threads) : parallel_(parallel), threads_(threads) {}

void Team::run(size_t pieces, Call call, const void* context) const {
    const size_t threads = std::min(threads_, pieces);
    if (threads <= 1) {
        for (size_t i = 0; i < pieces; i++) call(context, i);
        return;
    }
    if (!parallel_) {
        pool_of(threads_)->run(pieces, [&](size_t i, size_t) { call(context, i); });
        return;
    }
    struct Job {
        Call call;
        const void* context;
        size_t pieces;
        std::atomic<size_t> next{0};
        std::atomic<bool> failed{false};
        std::exception_ptr error{};  // of the first that failed: none may leave an OpenMP region
    } job{call, context, pieces};
    const auto work = [](void* data) {
        Job& job = *static_cast<Job*>(data);
        try {
            for (size_t i; !job.failed && (i = job.next.fetch_add(1)) < job.pieces;) job.call(job.context, i);
        } catch (...) {
            if (!job.failed.exchange(true)) job.error = std::current_exception();
        }
    };
    parallel_(work, &job, static_cast<unsigned>(threads), 0);
    if (job.error) std::rethrow_exception(job.error);
}

}  // namespace sparbor
