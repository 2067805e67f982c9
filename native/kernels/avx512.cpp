// AVX-512 (F, BW, DQ, VL): a branch's 32 inputs lie in two registers, a slot is one permute and one multiply-add.
//
// One row of 16-bit synapses takes two slots at a time (WordPairs); several rows, exact synapses, and groups with words
// that are no normal halves take them one by one.
#include <immintrin.h>

#include <limits>
#include <type_traits>

#include "rows.h"

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

    Words(const SparseLayer& layer, size_t slot) : at(words_of(layer) + slot * neuron_block) {}

    ALWAYS_INLINE Slot next() {
        const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
        at += neuron_block;
        return {_mm512_cvtepu16_epi32(words), _mm512_cvtph_ps(words), _mm256_test_epi16_mask(words, words)};
    }
};

struct Exact {
    const float* weight;
    const uint8_t* index;

    Exact(const SparseLayer& layer, size_t slot)
        : weight(weights_of(layer) + slot * neuron_block), index(layer.indices + slot * neuron_block) {}

    ALWAYS_INLINE Slot next() {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(index));
        const Slot slot{_mm512_cvtepu8_epi32(bytes), _mm512_loadu_ps(weight),
                        static_cast<__mmask16>(~_mm_movepi8_mask(bytes))};
        weight += neuron_block;
        index += neuron_block;
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

    ALWAYS_INLINE __m512 choose(__m512i index, int row = 0) const {
        return _mm512_permutex2var_ps(low[row], index, high[row]);
    }

    template <bool padded>
    ALWAYS_INLINE void add(const Slot& slot, Sums<rows>& sums, int chain) const {
        UNROLL for (int row = 0; row < rows; row++) {
            const __m512 chosen = choose(slot.index, row);
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

// What becomes of a group's sums: scaled, with the bias, not less than clamp_min.
struct Finish {
    __m512 scale, bias, clamp_min;

    template <class Layer>
    ALWAYS_INLINE Finish(const Layer& layer, size_t group)
        : scale(_mm512_loadu_ps(layer.scale + group * neuron_block)),
          bias(_mm512_loadu_ps(layer.bias + group * neuron_block)), clamp_min(_mm512_set1_ps(layer.clamp_min)) {}

    ALWAYS_INLINE void store(__m512 sums, float* y) const {
        _mm512_storeu_ps(y, _mm512_max_ps(clamp_min, _mm512_fmadd_ps(sums, scale, bias)));  // keeps NaN
    }
};

template <bool padded, int rows, class Synapses>
void sparse_tile(const SparseLayer& layer, const Rows& io, size_t first, size_t last) {
    Synapses synapses(layer, layer.groups[first].slot);
    const uint16_t* branch = layer.branches + layer.groups[first].branch;
    const Run* run = layer.runs + layer.groups[first].run;
    for (size_t group = first; group < last; group++) {
        Sums<rows> sums;
        for (const Run* end = run + layer.groups[group].runs; run != end; run++) {
            add_run<padded>(run->slots, branch, run->branches, io, synapses, sums);
            branch += run->branches;
        }
        const Finish finish(layer, group);
        float* y = io.y + group * neuron_block;
        UNROLL for (int row = 0; row < rows; row++) finish.store(sums.total(row), y + row * io.y_stride);
    }
}

// Hides a value from the compiler, which would otherwise load the same words once for each use.
ALWAYS_INLINE __m512i in_register(__m512i value) {
    asm("" : "+v"(value));
    return value;
}

// Makes floats, 2^-16 times as large, of normal halves in the low or in the high words of dwords. That leaves the
// shuffle pipes to the permutes, which `vcvtph2ps` and `vpmovzxwd` would fill as well.
//
// A shift puts the half's exponent and mantissa in their places and fills the three bits between them and the sign with
// copies of the sign. Those bits become 011, which adds 96 to the exponent: 16 less than the difference of the biases.
struct NormalHalves {
    __m512i keep = in_register(_mm512_set1_epi32(static_cast<int>(0x8FFFE000)));
    __m512i exponent = in_register(_mm512_set1_epi32(0x30000000));
    __m512i two_to_13 = in_register(_mm512_set1_epi32(0x2000));  // only the low words: the high ones times 0

    ALWAYS_INLINE __m512 low(__m512i words) const { return weights(_mm512_madd_epi16(words, two_to_13)); }
    ALWAYS_INLINE __m512 high(__m512i words) const { return weights(_mm512_srai_epi32(words, 3)); }

private:
    ALWAYS_INLINE __m512 weights(__m512i shifted) const {
        constexpr int and_then_or = 0xEA;
        return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(shifted, keep, exponent, and_then_or));
    }
};

// The sums of one row. Of two slots loaded at once, the low words belong to the even neurons, the first slot's in lanes
// 0 to 7 and the second's in lanes 8 to 15, and the high words likewise to the odd neurons. Single slots are summed in
// the order of their neurons. There are two sums of each kind, used in turns, to hide the latency of the additions.
struct PairSums {
    __m512 even[2], odd[2], single[2];

    ALWAYS_INLINE PairSums() {
        UNROLL for (int turn = 0; turn < 2; turn++) even[turn] = odd[turn] = single[turn] = _mm512_setzero_ps();
    }

    ALWAYS_INLINE __m512 total() const {
        const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        const __m512i second = _mm512_or_si512(first, _mm512_set1_epi32(8));
        const __m512 low = _mm512_add_ps(even[0], even[1]), high = _mm512_add_ps(odd[0], odd[1]);
        const __m512 pairs =
            _mm512_add_ps(_mm512_permutex2var_ps(low, first, high), _mm512_permutex2var_ps(low, second, high));
        const __m512 sum = _mm512_add_ps(pairs, _mm512_add_ps(single[0], single[1]));
        return _mm512_mul_ps(sum, _mm512_set1_ps(0x1p16f));  // weights were 2^-16 times as large
    }
};

// Reads one group after another and sums its synapses for one row.
struct WordPairs {
    const NormalHalves* halves;
    const float* x;
    const Run* run;
    const uint16_t* branch;
    const uint16_t* words;
    PairSums sums;

    WordPairs(const NormalHalves& constants, const SparseLayer& layer, const float* inputs, size_t group)
        : halves(&constants), x(inputs), run(layer.runs + layer.groups[group].run),
          branch(layer.branches + layer.groups[group].branch),
          words(words_of(layer) + layer.groups[group].slot * neuron_block) {}

    ALWAYS_INLINE void add_two(const Inputs<1>& inputs, int turn) {
        const __m512i even = in_register(_mm512_loadu_si512(words));
        const __m512i odd = in_register(_mm512_srli_epi32(even, 16));
        const __m512 even_weights = halves->low(even), odd_weights = halves->high(even);
        sums.even[turn] = _mm512_fmadd_ps(inputs.choose(even), even_weights, sums.even[turn]);
        sums.odd[turn] = _mm512_fmadd_ps(inputs.choose(odd), odd_weights, sums.odd[turn]);
        words += 2 * neuron_block;
    }

    ALWAYS_INLINE void add_one(const Inputs<1>& inputs, int turn) {
        const __m256i slot = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
        const __m512i wide = in_register(_mm512_cvtepu16_epi32(slot));
        const __m512 weights = halves->low(wide);
        sums.single[turn] = _mm512_fmadd_ps(inputs.choose(wide), weights, sums.single[turn]);
        words += neuron_block;
    }

    // The words reach the second cache in time without help, the first one not quite. Further ahead it was slower.
    template <int slots>
    ALWAYS_INLINE void prefetch() const {
        const char* ahead = reinterpret_cast<const char*>(words) + 320;
        UNROLL for (int line = 0; line < (slots + 1) / 2; line++) _mm_prefetch(ahead + line * 64, _MM_HINT_T0);
    }

    template <int slots>
    ALWAYS_INLINE void add_branch(int turn) {
        const Inputs<1> inputs(x + *branch++ * branch_size, 0);
        prefetch<slots>();
        UNROLL for (int pair = 0; pair < slots / 2; pair++) add_two(inputs, (pair + turn) % 2);
        if constexpr (slots % 2) add_one(inputs, turn);
    }

    template <int slots>
    ALWAYS_INLINE void short_run(size_t branches) {
        constexpr int at_once = slots <= 3 ? 2 : 1;  // few slots do not take both turns
        for (size_t i = 0; i < branches / at_once; i++)
            UNROLL for (int turn = 0; turn < at_once; turn++) add_branch<slots>(turn);
        if (branches % at_once) add_branch<slots>(0);
    }

    ALWAYS_INLINE void any_run(size_t slots, size_t branches) {
        for (size_t i = 0; i < branches; i++) {
            const Inputs<1> inputs(x + *branch++ * branch_size, 0);
            size_t slot = 0;
            for (; slot + 4 <= slots; slot += 4) UNROLL for (int turn = 0; turn < 2; turn++) add_two(inputs, turn);
            if (slots & 2) add_two(inputs, 0);
            if (slots & 1) add_one(inputs, 0);
        }
    }

    // Runs come in the order of their slots, nearly always without a gap: a chain of tests is better predicted than a
    // jump to any of the loops.
    ALWAYS_INLINE void add_runs(size_t runs) {
        const Run* end = run + runs;
#define SHORT_RUN(n) if (run != end && run->slots == n) [[likely]] short_run<n>((run++)->branches);
        SHORT_RUN(1) SHORT_RUN(2) SHORT_RUN(3) SHORT_RUN(4) SHORT_RUN(5) SHORT_RUN(6) SHORT_RUN(7) SHORT_RUN(8)
        SHORT_RUN(9) SHORT_RUN(10) SHORT_RUN(11) SHORT_RUN(12) SHORT_RUN(13) SHORT_RUN(14) SHORT_RUN(15) SHORT_RUN(16)
#undef SHORT_RUN
        for (; run != end; run++) any_run(run->slots, run->branches);
    }
};

template <bool padded>
void word_row(const SparseLayer& layer, const Rows& io, size_t first, size_t last) {
    const NormalHalves halves;
    WordPairs pairs(halves, layer, io.x, first);
    for (size_t group = first; group < last; group++) {
        if (layer.groups[group].normal) {
            pairs.sums = PairSums();
            pairs.add_runs(layer.groups[group].runs);
            Finish(layer, group).store(pairs.sums.total(), io.y + group * neuron_block);
        } else {
            sparse_tile<padded, 1, Words>(layer, io, group, group + 1);
            if (group + 1 < last) pairs = WordPairs(halves, layer, io.x, group + 1);
        }
    }
}

// A tile of rows goes through all groups before the next one starts, so that its inputs stay in the first cache.
template <bool padded, class Synapses>
void sparse_rows(const SparseLayer& layer, Rows io, size_t first, size_t last) {
    constexpr size_t tile = 4;
    for (; io.count >= tile; io.count -= tile, io.x += tile * io.x_stride, io.y += tile * io.y_stride)
        sparse_tile<padded, tile, Synapses>(layer, io, first, last);
    constexpr auto one_row = std::is_same_v<Synapses, Words> ? word_row<padded> : sparse_tile<padded, 1, Synapses>;
    for (; io.count > 0; io.count--, io.x += io.x_stride, io.y += io.y_stride) one_row(layer, io, first, last);
}

void sparse(const SparseLayer& layer, const Rows& io, size_t first, size_t last) {
    if (first == last) return;
    switch (layer.type) {
        case SynapseType::word16:
            return (layer.padded ? sparse_rows<true, Words> : sparse_rows<false, Words>)(layer, io, first, last);
        case SynapseType::exact:
            return (layer.padded ? sparse_rows<true, Exact> : sparse_rows<false, Exact>)(layer, io, first, last);
    }
}

}  // namespace

// Four rows at a time are faster than columns, whatever the batch.
constexpr size_t worth_columns = std::numeric_limits<size_t>::max();

const KernelSet kernels{"avx512", sparse, worth_columns, SPARBOR_SHARED_KERNELS,
                        {0.7, 0.46}, {0.35, 0.58}, {0.34, 0.28}};

}  // namespace sparbor::avx512
