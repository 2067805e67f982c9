// Which threads call a model, to be asked with the interpreter's lock held.
#pragma once

#include <atomic>

namespace sparbor {

class Callers {
public:
    // Whether this thread is the only one that has called so far: then none waits for what a call lets go of.
    bool is_one() {
        static thread_local const char here = 0;  // of whose address each thread has its own
        const char* none = nullptr;
        if (first_.load(std::memory_order_relaxed) == &here) return !others_.load(std::memory_order_relaxed);
        if (first_.compare_exchange_strong(none, &here)) return true;
        others_.store(true, std::memory_order_relaxed);
        return false;
    }

private:
    std::atomic<const char*> first_ = nullptr;
    std::atomic<bool> others_ = false;
};

}  // namespace sparbor
