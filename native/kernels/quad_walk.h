// The way of some rows of bytes through a layer of quads, whatever becomes of the sums. What a quad is to a processor
// stands in a header for its instructions. Without linkage, as vectors.h.
#pragma once

#include "quads.h"
#include "rounding.h"

#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
#include "quads_vbmi.h"
#elif defined(__AVX512BW__)
#include "quads_avx512.h"
#elif defined(__AVX2__)
#include "quads_avx2.h"
#elif defined(__aarch64__)
#include "quads_neon.h"
#else
#include "quads_portable.h"
#endif

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t parts = neuron_block / lanes;
constexpr size_t bytes_ahead = 2048;  // of indices, and of weights

// Whether the weights are asked for before they are needed. One row is through them faster than they come from beyond
// the second cache; if they are in the first, asking takes longer than they do.
enum class Ask { when_needed, ahead };

// Some rows on their way through a layer, and what their sums are so far. `place(branch)` is where a branch begins,
// in bytes from the first row's beginning, and `apart(row)` where a row does.
template <size_t rows, Range range, Ask ask, class Place, class Apart>
struct Walk {
    static constexpr size_t together = rows_together<rows, range>, chains = QuadSums<rows>::chains;
    using Inputs = QuadInputs<together, range>;
    const uint8_t* x;
    Place place;
    Apart apart;
    const uint16_t* branch;
    const uint8_t* indices;
    const int8_t* weights;
    QuadSums<rows> sums;

    // Calls quads(inputs, row) for the next branch of the rows that share registers.
    template <class Quads>
    ALWAYS_INLINE void next_branch(const Quads& quads) {
        const uint8_t* const inputs = x + place(*branch++);
        UNROLL for (size_t row = 0; row < rows; row += together)
            quads(Inputs(inputs, apart, row), row);
    }

    ALWAYS_INLINE void add(const Inputs& inputs, size_t quad, size_t row, size_t chain) {
        const uint8_t* const index = indices + quad * quad_bytes;
        const int8_t* const weight = weights + quad * quad_bytes;
        if constexpr (ask == Ask::ahead) {  // a processor ignores those beyond the end
            __builtin_prefetch(index + bytes_ahead);
            __builtin_prefetch(weight + bytes_ahead);
        }
        inputs.add(index, weight, sums, row, chain);
    }

    ALWAYS_INLINE void skip(size_t quads) {
        indices += quads * quad_bytes;
        weights += quads * quad_bytes;
    }

    // A run whose number of quads is known to the compiler: the loop over a branch's quads is gone. Of few quads, those
    // of several branches take turns on the chains of sums.
    template <size_t quads>
    ALWAYS_INLINE void short_run(size_t branches) {
        constexpr size_t turns = quads < chains ? chains / quads : 1;
        for (; branches >= turns; branches -= turns)
            UNROLL for (size_t turn = 0; turn < turns; turn++) short_branch<quads>(turn * quads);
        for (; branches > 0; branches--) short_branch<quads>(0);
    }

    template <size_t quads>
    ALWAYS_INLINE void short_branch(size_t chain) {
        next_branch([&](const Inputs& inputs, size_t row) __attribute__((always_inline)) {
            UNROLL for (size_t quad = 0; quad < quads; quad++) add(inputs, quad, row, chain + quad);
        });
        skip(quads);
    }

    ALWAYS_INLINE void any_run(size_t quads, size_t branches) {
        for (; branches > 0; branches--) {
            next_branch([&](const Inputs& inputs, size_t row) __attribute__((always_inline)) {
                size_t quad = 0;
                for (; quad + chains <= quads; quad += chains)
                    UNROLL for (size_t chain = 0; chain < chains; chain++) add(inputs, quad + chain, row, chain);
                for (; quad < quads; quad++) add(inputs, quad, row, 0);
            });
            skip(quads);
        }
    }

    // Runs come in the order of their quads, nearly always without a gap: a chain of tests is better predicted than a
    // jump to any of the loops.
    ALWAYS_INLINE void add_runs(const Run* run, const Run* end) {
#define SHORT_RUN(n) if (run != end && run->slots == n) [[likely]] short_run<n>((run++)->branches);
        SHORT_RUN(1) SHORT_RUN(2) SHORT_RUN(3) SHORT_RUN(4) SHORT_RUN(5) SHORT_RUN(6)
#undef SHORT_RUN
        for (; run != end; run++) any_run(run->slots, run->branches);
    }
};

// Calls store(group, sums) for each group from `first` to `last`, of which there is one.
template <size_t rows, Range range, Ask ask = Ask::when_needed, class Place, class Apart, class Store>
ALWAYS_INLINE void through_groups(const QuadLayer& layer, const uint8_t* x, const Place& place, const Apart& apart,
                                  size_t first, size_t last, const Store& store) {
    const NeuronBlock& start = layer.groups[first];
    const Run* run = layer.runs + start.run;
    Walk<rows, range, ask, Place, Apart> walk{x, place, apart, layer.branches + start.branch,
                                              layer.indices + start.slot * quad_bytes,
                                              layer.weights + start.slot * quad_bytes, {}};
    for (size_t group = first; group < last; group++) {
        walk.sums = {};
        walk.add_runs(run, run + layer.groups[group].runs);
        run += layer.groups[group].runs;
        store(group, walk.sums);
    }
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
