// One row whose inputs stay in registers, on its way through a layer of quads. A kernel that takes a quad's branch from
// a list loads its number, its inputs, the indices and the weights, and a core loads twice a cycle: here the latter two
// are left. Which branch a quad is on is where the code stands. Without linkage, as vectors.h.
#pragma once

#include "row_sums.h"
#include "row_tiles.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)

template <size_t branches>
struct RowWalk {
    __m512i x[branches];
    const uint8_t* quad;
    __m512i sums[4];  // several chains, to hide how long an addition takes

    RowWalk(const uint8_t* inputs, const uint8_t* quad) : quad(quad) {
        UNROLL for (size_t branch = 0; branch < branches; branch++) {
            x[branch] = _mm512_loadu_si512(inputs + branch * quad_branch);
            asm("" : "+v"(x[branch]));  // or it is loaded once for each quad
        }
    }

    ALWAYS_INLINE void add(size_t branch, size_t ahead) {
        const uint8_t* const at = quad + ahead * 2 * quad_bytes;
        const __m512i inputs = _mm512_permutexvar_epi8(_mm512_loadu_si512(at), x[branch]);
        __m512i& sum = sums[(branch + ahead) % 4];
        sum = _mm512_dpbusd_epi32(sum, inputs, _mm512_loadu_si512(at + quad_bytes));
    }

    template <size_t quads>
    ALWAYS_INLINE void add_few(size_t branch) {
        UNROLL for (size_t i = 0; i < quads; i++) add(branch, i);
        quad += quads * 2 * quad_bytes;
    }

    // Tests, each at a place of its own, are better predicted than the end of a loop.
    ALWAYS_INLINE void add_branch(size_t branch, size_t quads) {
        if (quads == 1) return add_few<1>(branch);
        if (quads == 2) return add_few<2>(branch);
        if (quads == 3) return add_few<3>(branch);
        for (; quads > 0; quads--) add_few<1>(branch);
    }

    ALWAYS_INLINE void add_group(const uint8_t* counts) {
        UNROLL for (__m512i& sum : sums) sum = _mm512_setzero_si512();
        uint64_t eight[most_row_branches / 8];  // of the counts: a byte of a register costs no load
        std::memcpy(eight, counts, sizeof eight);
        UNROLL for (size_t branch = 0; branch < branches; branch++)
            add_branch(branch, static_cast<uint8_t>(eight[branch / 8] >> branch % 8 * 8));
    }

    ALWAYS_INLINE Integers sum() const {
        return reinterpret_cast<Integers>(
            _mm512_add_epi32(_mm512_add_epi32(sums[0], sums[1]), _mm512_add_epi32(sums[2], sums[3])));
    }
};

void through_registers(const QuadLayer& layer, const RowQuads& quads, const ByteRows& io, size_t first, size_t last) {
    by_rows<most_row_branches>(0, quads.branches, [&]<size_t branches>(size_t) {
        RowWalk<branches> walk(io.x, quads.quads + layer.groups[first].slot * 2 * quad_bytes);
        for (size_t group = first; group < last; group++) {
            walk.add_group(quads.counts + group * most_row_branches);
            store_rows<1>(layer, io, 0, group, least_input<Range::levels>,
                          [&](size_t, size_t) __attribute__((always_inline)) { return walk.sum(); });
        }
    });
}

constexpr QuadRow quad_row = through_registers;

#else

constexpr QuadRow quad_row = nullptr;

#endif

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
