// Whoever shares the work of a call: a pool of our own, or the threads of a program that the engine is a part of.
#pragma once

#include <cstddef>

namespace sparbor {

class Workers {
public:
    virtual ~Workers() = default;
    virtual size_t threads() const = 0;

    // Calls piece(i, thread) for each i below `pieces`, on whichever threads are free; no two that run at once have the
    // same number, which is below `threads()`.
    template <class Piece>
    void run(size_t pieces, const Piece& piece) {
        const auto call = [](const void* context, size_t i, size_t thread) {
            (*static_cast<const Piece*>(context))(i, thread);
        };
        run_pieces(pieces, call, &piece);
    }

protected:
    using PieceCall = void (*)(const void* context, size_t i, size_t thread);

private:
    virtual void run_pieces(size_t pieces, PieceCall call, const void* context) = 0;
};

}  // namespace sparbor
