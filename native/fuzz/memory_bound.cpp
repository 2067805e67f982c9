#include "memory_bound.h"

#include <sanitizer/allocator_interface.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace sparbor::fuzz {
namespace {

std::atomic<bool> counts{false};
std::atomic<long long> held{0};
std::atomic<long long> most_held{0};

void allocated(const volatile void*, size_t size) {
    if (!counts.load(std::memory_order_relaxed)) return;
    if (held.fetch_add(static_cast<long long>(size)) + static_cast<long long>(size) <= most_held) return;
    counts = false;
    std::fprintf(stderr, "more than %lld bytes are held at once\n", most_held.load());
    std::abort();
}

void freed(const volatile void* at) {
    if (at && counts.load(std::memory_order_relaxed))
        held.fetch_sub(static_cast<long long>(__sanitizer_get_allocated_size(at)));
}

const int installed = __sanitizer_install_malloc_and_free_hooks(allocated, freed);

}  // namespace

MemoryBound::MemoryBound(size_t most) {
    if (installed == 0) std::abort();
    most_held = static_cast<long long>(most);
    held = 0;
    counts = true;
}

MemoryBound::~MemoryBound() { counts = false; }

}  // namespace sparbor::fuzz
