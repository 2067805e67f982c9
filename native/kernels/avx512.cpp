// AVX-512 (F, BW, DQ, VL): a branch's 32 inputs lie in two registers, a slot is one permute and one multiply-add.
#include <immintrin.h>

#include "../kernels.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

namespace sparbor::avx512 {
namespace {

struct Slot {
    __m512i index;     // the permute looks at the low five bits only
    __m512 weight;
    __mmask16 real;    // which lanes are synapses and not padding
};

// Both kinds of synapse are read slot by slot, in the order in which they are stored.
struct Words {
    const uint16_t* at;

    Words(const SparseLayer& layer, size_t slot) : at(layer.words + slot * group_size) {}

    ALWAYS_INLINE Slot next() {
        const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
        at += group_size;
        return {_mm512_cvtepu16_epi32(words), _mm512_cvtph_ps(words), _mm256_test_epi16_mask(words, words)};
    }
};

struct Exact {
    const float* weight;
    const uint8_t* index;

    Exact(const SparseLayer& layer, size_t slot)
        : weight(layer.weights + slot * group_size), index(layer.indices + slot * group_size) {}

    ALWAYS_INLINE Slot next() {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(index));
        const Slot slot{_mm512_cvtepu8_epi32(bytes), _mm512_loadu_ps(weight),
                        static_cast<__mmask16>(~_mm_movepi8_mask(bytes))};
        weight += group_size;
        index += group_size;
        return slot;
    }
};

// The sums of a tile of rows. One row has four chains, to hide the latency of the additions; more rows hide it
// themselves.
template <int rows>
struct Sums {
    static constexpr int chains = rows == 1 ? 4 : 1;
    __m512 at[rows][chains];

    ALWAYS_INLINE Sums() {
        UNROLL for (int row = 0; row < rows; row++)
            UNROLL for (int chain = 0; chain < chains; chain++) at[row][chain] = _mm512_setzero_ps();
    }

    ALWAYS_INLINE __m512 total(int row) const {
        if constexpr (chains == 1) return at[row][0];
        else return _mm512_add_ps(_mm512_add_ps(at[row][0], at[row][1]), _mm512_add_ps(at[row][2], at[row][3]));
    }
};

// One branch of a tile of rows, in registers.
template <int rows>
struct Inputs {
    __m512 low[rows], high[rows];

    ALWAYS_INLINE Inputs(const float* x, size_t stride) {
        UNROLL for (int row = 0; row < rows; row++) {
            low[row] = _mm512_loadu_ps(x + row * stride);
            high[row] = _mm512_loadu_ps(x + row * stride + 16);
        }
    }

    template <bool padded>
    ALWAYS_INLINE void add(const Slot& slot, Sums<rows>& sums, int chain) const {
        UNROLL for (int row = 0; row < rows; row++) {
            const __m512 chosen = _mm512_permutex2var_ps(low[row], slot.index, high[row]);
            __m512& sum = sums.at[row][chain % Sums<rows>::chains];
            sum = padded ? _mm512_mask3_fmadd_ps(chosen, slot.weight, sum, slot.real)
                         : _mm512_fmadd_ps(chosen, slot.weight, sum);
        }
    }
};

// A run whose number of slots is known to the compiler: the loop over a branch's slots is gone.
template <int slots, int rows, class Synapses>
ALWAYS_INLINE void short_run(const uint16_t* branch, size_t branches, const Rows& io, Synapses& synapses,
                             Sums<rows>& sums) {
    for (size_t i = 0; i < branches; i++) {
        const Inputs<rows> inputs(io.x + branch[i] * branch_size, io.x_stride);
        UNROLL for (int slot = 0; slot < slots; slot++) inputs.template add<false>(synapses.next(), sums, slot);
    }
}

template <bool padded, int rows, class Synapses>
ALWAYS_INLINE void any_run(size_t slots, const uint16_t* branch, size_t branches, const Rows& io, Synapses& synapses,
                           Sums<rows>& sums) {
    for (size_t i = 0; i < branches; i++) {
        const Inputs<rows> inputs(io.x + branch[i] * branch_size, io.x_stride);
        size_t slot = 0;
        for (; slot + 4 <= slots; slot += 4)
            UNROLL for (int chain = 0; chain < 4; chain++) inputs.template add<padded>(synapses.next(), sums, chain);
        for (; slot < slots; slot++) inputs.template add<padded>(synapses.next(), sums, 0);
    }
}

template <bool padded, int rows, class Synapses>
ALWAYS_INLINE void add_run(size_t slots, const uint16_t* branch, size_t branches, const Rows& io, Synapses& synapses,
                           Sums<rows>& sums) {
    if constexpr (padded) return any_run<true>(slots, branch, branches, io, synapses, sums);
#define SHORT_RUN(n) case n: return short_run<n>(branch, branches, io, synapses, sums);
    switch (slots) {
        SHORT_RUN(1) SHORT_RUN(2) SHORT_RUN(3) SHORT_RUN(4) SHORT_RUN(5) SHORT_RUN(6) SHORT_RUN(7) SHORT_RUN(8)
        SHORT_RUN(9) SHORT_RUN(10) SHORT_RUN(11) SHORT_RUN(12) SHORT_RUN(13) SHORT_RUN(14) SHORT_RUN(15) SHORT_RUN(16)
        default: return any_run<false>(slots, branch, branches, io, synapses, sums);
    }
#undef SHORT_RUN
}

template <bool padded, int rows, class Synapses>
void sparse_tile(const SparseLayer& layer, const Rows& io, size_t first, size_t last) {
    Synapses synapses(layer, layer.groups[first].slot);
    const uint16_t* branch = layer.branches + layer.groups[first].branch;
    const Run* run = layer.runs + layer.groups[first].run;
    const __m512 floor = _mm512_set1_ps(layer.floor);
    for (size_t group = first; group < last; group++) {
        Sums<rows> sums;
        for (const Run* end = run + layer.groups[group].runs; run != end; run++) {
            add_run<padded>(run->slots, branch, run->branches, io, synapses, sums);
            branch += run->branches;
        }
        const __m512 scale = _mm512_loadu_ps(layer.scale + group * group_size);
        const __m512 bias = _mm512_loadu_ps(layer.bias + group * group_size);
        UNROLL for (int row = 0; row < rows; row++) {
            const __m512 y = _mm512_fmadd_ps(sums.total(row), scale, bias);
            _mm512_storeu_ps(io.y + row * io.y_stride + group * group_size, _mm512_max_ps(floor, y));  // keeps NaN
        }
    }
}

// A tile of rows goes through all groups before the next one starts, so that its inputs stay in the first cache.
template <bool padded, class Synapses>
void sparse_rows(const SparseLayer& layer, Rows io, size_t first, size_t last) {
    constexpr size_t tile = 4;
    for (; io.count >= tile; io.count -= tile, io.x += tile * io.x_stride, io.y += tile * io.y_stride)
        sparse_tile<padded, tile, Synapses>(layer, io, first, last);
    for (; io.count > 0; io.count--, io.x += io.x_stride, io.y += io.y_stride)
        sparse_tile<padded, 1, Synapses>(layer, io, first, last);
}

void sparse(const SparseLayer& layer, const Rows& io, size_t first, size_t last) {
    if (first == last) return;
    if (layer.words)
        (layer.padded ? sparse_rows<true, Words> : sparse_rows<false, Words>)(layer, io, first, last);
    else
        (layer.padded ? sparse_rows<true, Exact> : sparse_rows<false, Exact>)(layer, io, first, last);
}

ALWAYS_INLINE __m512 load_weights(const float* at) { return _mm512_loadu_ps(at); }
ALWAYS_INLINE __m512 load_weights(const uint16_t* at) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
}

// Few rows are split over several chains of additions; eight hide the latency themselves.
template <int rows, class Weight>
void dense_tile(const Weight* panels, const DenseLayer& layer, const Rows& io, size_t group) {
    constexpr int chains = rows == 1 ? 8 : rows < 4 ? 4 : rows < 8 ? 2 : 1;
    const Weight* panel = panels + group * group_size * layer.fan_in;
    __m512 sums[rows][chains];
    UNROLL for (int row = 0; row < rows; row++)
        UNROLL for (int chain = 0; chain < chains; chain++) sums[row][chain] = _mm512_setzero_ps();
    const auto add = [&](size_t k, int chain) __attribute__((always_inline)) {
        const __m512 weights = load_weights(panel + k * group_size);
        UNROLL for (int row = 0; row < rows; row++)
            sums[row][chain] =
                _mm512_fmadd_ps(weights, _mm512_set1_ps(io.x[row * io.x_stride + k]), sums[row][chain]);
    };
    size_t k = 0;
    for (; k + chains <= layer.fan_in; k += chains)
        UNROLL for (int chain = 0; chain < chains; chain++) add(k + chain, chain);
    for (; k < layer.fan_in; k++) add(k, 0);
    const __m512 floor = _mm512_set1_ps(layer.floor);
    const __m512 scale = _mm512_loadu_ps(layer.scale + group * group_size);
    const __m512 bias = _mm512_loadu_ps(layer.bias + group * group_size);
    UNROLL for (int row = 0; row < rows; row++) {
        UNROLL for (int chain = 1; chain < chains; chain++)
            sums[row][0] = _mm512_add_ps(sums[row][0], sums[row][chain]);
        const __m512 y = _mm512_fmadd_ps(sums[row][0], scale, bias);
        _mm512_storeu_ps(io.y + row * io.y_stride + group * group_size, _mm512_max_ps(floor, y));  // keeps NaN
    }
}

// Eight rows a tile: their inputs (8 × 4 B × fan_in) and one group's panel are what the caches must hold.
template <class Weight>
void dense_rows(const Weight* panels, const DenseLayer& layer, const Rows& all, size_t first, size_t last) {
    using Tile = void (*)(const Weight*, const DenseLayer&, const Rows&, size_t);
    static constexpr Tile tiles[] = {nullptr,
                                     dense_tile<1, Weight>, dense_tile<2, Weight>, dense_tile<3, Weight>,
                                     dense_tile<4, Weight>, dense_tile<5, Weight>, dense_tile<6, Weight>,
                                     dense_tile<7, Weight>, dense_tile<8, Weight>};
    for (size_t group = first; group < last; group++) {
        Rows io = all;
        while (io.count > 0) {
            const size_t rows = io.count < 8 ? io.count : 8;
            tiles[rows](panels, layer, io, group);
            io.count -= rows;
            io.x += rows * io.x_stride;
            io.y += rows * io.y_stride;
        }
    }
}

void dense(const DenseLayer& layer, const Rows& io, size_t first, size_t last) {
    if (layer.halves) dense_rows(layer.halves, layer, io, first, last);
    else dense_rows(layer.panels, layer, io, first, last);
}

}  // namespace

const KernelSet kernels{"avx512", sparse, nullptr, dense, &elementwise};

}  // namespace sparbor::avx512
