#include "plan/thread_pool.h"

#include <chrono>
#include <stdexcept>
#include <string>
#include <system_error>

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
#elif defined(__aarch64__)
    asm volatile("yield");
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

ThreadPool::ThreadPool(size_t threads) : process_(getpid()) {
    try {
        workers_.reserve(threads - 1);
        while (this->threads() < threads) workers_.emplace_back([this, thread = this->threads()] { work(thread); });
    } catch (const std::system_error&) {
        stop();
        throw std::runtime_error("the system could start only " + std::to_string(this->threads()));
    } catch (...) {
        stop();
        throw;
    }
}

ThreadPool::~ThreadPool() {
    if (forked())  // the threads are the parent's: there is nothing to join
        new std::vector<std::thread>(std::move(workers_));
    else
        stop();
}

void ThreadPool::stop() {
    stop_ = true;
    round_.fetch_add(1);
    round_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

bool ThreadPool::forked() const { return getpid() != process_; }

void ThreadPool::take_pieces(size_t thread) {
    for (size_t i; (i = next_.fetch_add(1)) < pieces_;) call_(context_, i, thread);
}

void ThreadPool::run_pieces(size_t pieces, PieceCall call, const void* context) {
    const std::unique_lock<std::mutex> alone(caller_, std::try_to_lock);
    if (!alone.owns_lock() || forked()) {
        for (size_t i = 0; i < pieces; i++) call(context, i, 0);
        return;
    }
    // A worker first says that it is inside and then looks whether the job is open; we first close it and then look
    // whether anyone is inside. So nobody is inside while the job changes.
    call_ = call;
    context_ = context;
    pieces_ = pieces;
    next_ = 0;
    open_ = true;
    round_.fetch_add(1);
    if (asleep_.load() > 0) round_.notify_all();
    take_pieces(0);
    open_ = false;
    while (inside_.load() > 0) {
        const uint32_t left = inside_.load();
        if (left > 0 && !spin_until_changed(inside_, left)) std::this_thread::yield();
    }
}

void ThreadPool::work(size_t thread) {
    for (uint32_t seen = 0; !stop_;) {
        if (!spin_until_changed(round_, seen)) {
            asleep_.fetch_add(1);
            round_.wait(seen);
            asleep_.fetch_sub(1);
        }
        seen = round_.load();
        inside_.fetch_add(1);
        if (open_) take_pieces(thread);
        inside_.fetch_sub(1);
    }
}

}  // namespace sparbor
