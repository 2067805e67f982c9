#include "pool.h"

#include <chrono>

#ifdef _WIN32
#include <process.h>
#define getpid _getpid
#else
#include <unistd.h>
#endif

namespace sparbor {
namespace {

inline void relax() {
#if defined(__x86_64__) || defined(_M_X64)
    __builtin_ia32_pause();
#endif
}

// Long enough to span the gap between two layers, short enough to leave the core to others between two calls.
constexpr std::chrono::microseconds patience{50};

// Whether the value changed from `old` while we were patient.
bool spin_until_changed(const std::atomic<uint32_t>& value, uint32_t old) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    do {
        for (int i = 0; i < 64; i++) {
            if (value.load(std::memory_order_acquire) != old) return true;
            relax();
        }
    } while (std::chrono::steady_clock::now() < deadline);
    return false;
}

}  // namespace

Pool::Pool(size_t threads) : process_(getpid()) {
    for (size_t i = 1; i < threads; i++) workers_.emplace_back([this, i] { work(i); });
}

Pool::~Pool() {
    if (forked()) {  // the threads are the parent's: there is nothing to join
        new std::vector<std::thread>(std::move(workers_));
        return;
    }
    stop_ = true;
    round_.fetch_add(1);
    round_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

bool Pool::forked() const { return getpid() != process_; }

void Pool::run(Call call, const void* context) {
    const std::unique_lock<std::mutex> alone(caller_, std::try_to_lock);
    if (!alone.owns_lock() || workers_.empty() || forked()) return call(context, 0, 1);
    call_ = call;
    context_ = context;
    working_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
    round_.fetch_add(1);  // ordered before the load below, as a worker's increment of asleep_ is before its wait
    if (asleep_.load() > 0) round_.notify_all();
    call(context, 0, threads());
    // A worker may have lost its core to someone else: let it have ours.
    for (uint32_t left; (left = working_.load(std::memory_order_acquire)) > 0;)
        if (!spin_until_changed(working_, left)) std::this_thread::yield();
}

void Pool::work(size_t i) {
    for (uint32_t seen = 0;;) {
        if (!spin_until_changed(round_, seen)) {
            asleep_.fetch_add(1);
            round_.wait(seen);
            asleep_.fetch_sub(1);
        }
        seen = round_.load(std::memory_order_acquire);
        if (stop_) return;
        call_(context_, i, threads());
        working_.fetch_sub(1, std::memory_order_release);
    }
}

}  // namespace sparbor
