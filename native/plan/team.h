// The threads that training's kernels run on: those of the OpenMP runtime that PyTorch has. A pool of our own would
// have to share the cores with PyTorch's threads, which spin for milliseconds after each of its operations.
#pragma once

#include <cstddef>

#include "plan/thread_pool.h"

namespace sparbor {

// `GOMP_parallel` of an OpenMP runtime: calls work(data) on so many threads.
using Parallel = void (*)(void (*work)(void*), void* data, unsigned threads, unsigned flags);

class Team {
public:
    // Without a runtime the threads are our own.
    Team(Parallel parallel, size_t threads);

    size_t threads() const { return threads_; }

    // Calls piece(i) for each i below `pieces`; which thread does is not determined.
    template <class Piece>
    void run(size_t pieces, const Piece& piece) const {
        const auto call = [](const void* context, size_t i) { (*static_cast<const Piece*>(context))(i); };
        run(pieces, call, &piece);
    }

private:
    using Call = void (*)(const void* context, size_t i);
    void run(size_t pieces, Call call, const void* context) const;

    Parallel parallel_;
    size_t threads_;
};

}  // namespace sparbor
