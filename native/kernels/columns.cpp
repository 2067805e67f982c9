// Layers over many columns at once, rows of a batch or pixels of a plane, as plain loops over vectors of columns;
// compiled like elementwise.cpp, once for each kernel set. An input's columns lie side by side, so a synapse is one
// multiply-add of its weight and sixteen of them.
#include "turning.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// How many accumulators fit into the registers: sparse_* for neurons times lane groups of sixteen columns, dense_* for
// outputs times lane groups.
#if defined(__AVX512F__)
constexpr size_t widest_sparse = 4, sparse_sums = 16, widest_dense = 3, dense_block = 8;
#elif defined(__AVX__)
constexpr size_t widest_sparse = 2, sparse_sums = 4, widest_dense = 1, dense_block = 6;
#else
constexpr size_t widest_sparse = 1, sparse_sums = 2, widest_dense = 1, dense_block = 2;
#endif
constexpr size_t parts = column_tile / lanes;  // vectors for sixteen columns

// What becomes of an output's sums: scaled, with the bias, not less than clamp_min; NaN stays.
template <class Layer>
ALWAYS_INLINE void finish(const Layer& layer, size_t output, const Vector* sums, size_t count, float* y) {
    const Vector scale = everywhere(layer.scale[output]), bias = everywhere(layer.bias[output]);
    const Vector clamp_min = everywhere(layer.clamp_min);
    UNROLL for (size_t part = 0; part < count; part++) {
        const Vector value = sums[part] * scale + bias;
        store(y + part * lanes, value < clamp_min ? clamp_min : value);
    }
}

// Where a branch's inputs lie; the low five bits choose.
struct EvenBranch {
    uint32_t first, step;

    ALWAYS_INLINE EvenBranch(const PackedInput& packed, size_t branch)
        : first(static_cast<uint32_t>(branch * branch_size) * packed.step), step(packed.step) {}
    ALWAYS_INLINE Integers choose(Integers words) const {
        return first + (words & (uint32_t{branch_size} - 1)) * step;
    }
};

#if defined(__AVX512F__)
struct AnyBranch {
    Integers low, high;

    ALWAYS_INLINE AnyBranch(const PackedInput& packed, size_t branch) {
        std::memcpy(&low, packed.offsets + branch * branch_size, sizeof low);
        std::memcpy(&high, packed.offsets + branch * branch_size + lanes, sizeof high);
    }
    ALWAYS_INLINE Integers choose(Integers words) const {
        return reinterpret_cast<Integers>(_mm512_permutex2var_epi32(
            reinterpret_cast<__m512i>(low), reinterpret_cast<__m512i>(words), reinterpret_cast<__m512i>(high)));
    }
};
#else
struct AnyBranch {
    const uint32_t* offsets;

    ALWAYS_INLINE AnyBranch(const PackedInput& packed, size_t branch)
        : offsets(packed.offsets + branch * branch_size) {}
    ALWAYS_INLINE Integers choose(Integers words) const {
        Integers chosen;
        UNROLL for (size_t lane = 0; lane < lanes; lane++) chosen[lane] = offsets[words[lane] % branch_size];
        return chosen;
    }
};
#endif

template <class Branch>
ALWAYS_INLINE void decode_words(const uint16_t* words, const Branch& branch, uint32_t zeros, Synapses& to) {
    UNROLL for (size_t lane = 0; lane < neuron_block; lane += lanes) {
        const Integers wide = widen(words + lane);
        const Integers chosen = branch.choose(wide);
        const Integers offsets = wide == 0 ? zeros + Integers{} : chosen;
        store(to.weights + lane, load_halves(words + lane));
        std::memcpy(to.offsets + lane, &offsets, sizeof offsets);
    }
}

template <class Branch>
ALWAYS_INLINE void decode_exact(const float* weights, const uint8_t* indices, const Branch& branch, uint32_t zeros,
                                Synapses& to) {
    typedef uint8_t Bytes __attribute__((vector_size(lanes), aligned(1)));
    UNROLL for (size_t lane = 0; lane < neuron_block; lane += lanes) {
        const Integers wide = __builtin_convertvector(*reinterpret_cast<const Bytes*>(indices + lane), Integers);
        const Integers chosen = branch.choose(wide);
        const Integers offsets = wide >= uint32_t{branch_size} ? zeros + Integers{} : chosen;
        store(to.weights + lane, load(weights + lane));
        std::memcpy(to.offsets + lane, &offsets, sizeof offsets);
    }
}

// The slots of a group, by chunk: each chunk's from starts[chunk] to starts[chunk + 1].
struct Chunks {
    size_t count = 1;
    uint32_t starts[most_chunks + 1] = {};

    void find(const SparseLayer& layer, const NeuronBlock& group, uint32_t shift) {
        const uint16_t* branch = layer.branches + group.branch;
        for (const Run* run = layer.runs + group.run; run != layer.runs + group.run + group.runs; run++)
            for (size_t i = 0; i < run->branches; i++) {
                const size_t chunk = *branch++ >> shift;
                starts[chunk + 1] += run->slots;
                if (chunk >= count) count = chunk + 1;
            }
        for (size_t chunk = 0; chunk < count; chunk++) starts[chunk + 1] += starts[chunk];
    }
};

constexpr size_t slots_ahead = 64;  // that are on their way from a cache far away

// Decodes a group's slots, sorted by chunk. Padding reads zeros.
template <class Branch>
void decode(const SparseLayer& layer, const NeuronBlock& group, const PackedInput& packed, const Chunks& chunks,
            Synapses* to) {
    uint32_t next[most_chunks];
    for (size_t chunk = 0; chunk < chunks.count; chunk++) next[chunk] = chunks.starts[chunk];
    size_t slot = group.slot;
    const uint16_t* branch = layer.branches + group.branch;
    for (const Run* run = layer.runs + group.run; run != layer.runs + group.run + group.runs; run++)
        for (size_t i = 0; i < run->branches; i++, branch++) {
            const Branch inputs(packed, *branch);
            uint32_t& at = next[*branch >> packed.chunk_shift];
            Synapses* decoded = to + at;
            at += run->slots;
            for (const Synapses* end = decoded + run->slots; decoded != end; decoded++, slot++)
                switch (const size_t first = slot * neuron_block; layer.type) {
                    case SynapseType::word16:
                        __builtin_prefetch(words_of(layer) + first + slots_ahead * neuron_block);
                        decode_words(words_of(layer) + first, inputs, packed.zeros, *decoded);
                        break;
                    case SynapseType::exact:
                        decode_exact(weights_of(layer) + first, layer.indices + first, inputs, packed.zeros, *decoded);
                }
        }
}

// A few neurons' synapses of a slot, each weight in all lanes. A processor can load twice a cycle, and the columns take
// most of that: on AVX-512 four weights are loaded at once and spread by shuffles, and two offsets.
#if defined(__AVX512F__)
constexpr size_t at_once = 4;
struct Few {
    Vector weights[at_once];
    size_t offsets[at_once];

    ALWAYS_INLINE Few(const Synapses& slot, size_t first) {
        const Vector four = in_register(_mm512_broadcast_f32x4(_mm_load_ps(slot.weights + first)));
        weights[0] = _mm512_permute_ps(four, 0x00);
        weights[1] = _mm512_permute_ps(four, 0x55);
        weights[2] = _mm512_permute_ps(four, 0xAA);
        weights[3] = _mm512_permute_ps(four, 0xFF);
        UNROLL for (size_t i = 0; i < at_once; i += 2) {
            uint64_t two;
            std::memcpy(&two, slot.offsets + first + i, sizeof two);
            offsets[i] = static_cast<uint32_t>(two);
            offsets[i + 1] = two >> 32;
        }
    }
};
#else
constexpr size_t at_once = 1;
struct Few {
    Vector weights[1];
    size_t offsets[1];

    ALWAYS_INLINE Few(const Synapses& slot, size_t neuron)
        : weights{in_register(everywhere(slot.weights[neuron]))}, offsets{slot.offsets[neuron]} {}
};
#endif

// A group's synapses for some columns: sums wait for the next chunk, and those of the last become results.
struct Work {
    const SparseLayer& layer;
    size_t group;
    const Synapses* slots;
    const Chunks& chunks;
    const float* x;
    float* waiting;
    float* y;
    size_t stride, neurons;
};

// Some neurons and one chunk, with all sums in registers.
template <size_t neurons, size_t width>
ALWAYS_INLINE void sparse_block(const Work& work, size_t chunk, size_t first) {
    constexpr size_t vectors = width * parts;
    Vector sums[neurons][vectors];
    float* const waiting = work.waiting + first * width * column_tile;
    UNROLL for (size_t i = 0; i < neurons; i++)
        UNROLL for (size_t part = 0; part < vectors; part++)
            sums[i][part] = chunk == 0 ? Vector{} : load(waiting + (i * vectors + part) * lanes);
    const Synapses* const end = work.slots + work.chunks.starts[chunk + 1];
    for (const Synapses* slot = work.slots + work.chunks.starts[chunk]; slot != end; slot++)
        UNROLL for (size_t i = 0; i < neurons; i += at_once) {
            const Few few(*slot, first + i);
            UNROLL for (size_t k = 0; k < at_once; k++)
                UNROLL for (size_t part = 0; part < vectors; part++)
                    sums[i + k][part] += few.weights[k] * load(work.x + few.offsets[k] + part * lanes);
        }
    const bool last = chunk + 1 == work.chunks.count;
    UNROLL for (size_t i = 0; i < neurons; i++) {
        if (first + i >= work.neurons) break;
        if (last)
            finish(work.layer, work.group * neuron_block + first + i, sums[i], vectors,
                   work.y + (first + i) * work.stride);
        else
            UNROLL for (size_t part = 0; part < vectors; part++)
                store(waiting + (i * vectors + part) * lanes, sums[i][part]);
    }
}

// All of the group's neurons. Inlined, it would share its registers with its callers.
template <size_t width>
__attribute__((noinline)) void sparse_chunk(const Work& work, size_t chunk) {
    constexpr size_t neurons = sparse_sums / width;
    for (size_t first = 0; first < work.neurons; first += neurons) sparse_block<neurons, width>(work, chunk, first);
}

// Some groups of a layer, decoded.
struct Groups {
    size_t count, most_chunks_of_one = 0;
    Chunks chunks[most_groups];
    const Synapses* slots[most_groups];

    Groups(const SparseLayer& layer, size_t first, size_t count, const PackedInput& packed, Synapses* decoded)
        : count(count) {
        for (size_t i = 0; i < count; i++) {
            const NeuronBlock& group = layer.groups[first + i];
            Synapses* const to = decoded + (group.slot - layer.groups[first].slot);
            chunks[i].find(layer, group, packed.chunk_shift);
            (packed.offsets ? decode<AnyBranch> : decode<EvenBranch>)(layer, group, packed, chunks[i], to);
            slots[i] = to;
            if (chunks[i].count > most_chunks_of_one) most_chunks_of_one = chunks[i].count;
        }
    }
};

// `width` lane groups of columns. The groups take their turns on a chunk, because they share its inputs.
template <size_t width>
void sparse_columns(const SparseLayer& layer, size_t first_group, const Groups& groups, const float* x,
                    const Tile& tile, float* y, float* waiting) {
    for (size_t chunk = 0; chunk < groups.most_chunks_of_one; chunk++)
        for (size_t i = 0; i < groups.count; i++) {
            if (chunk >= groups.chunks[i].count) continue;
            const size_t above = i * neuron_block, left = tile.neurons - above;
            const Work work{layer, first_group + i, groups.slots[i], groups.chunks[i], x,
                            waiting + above * width * column_tile, y + above * tile.stride, tile.stride,
                            left < neuron_block ? left : neuron_block};
            sparse_chunk<width>(work, chunk);
        }
}

void sparse(const SparseLayer& layer, size_t first_group, size_t count, const PackedInput& packed, const Tile& tile,
            float* waiting, Synapses* decoded) {
    const Groups groups(layer, first_group, count, packed, decoded);
    for (size_t done = 0; done < packed.count;) {
        const size_t left = packed.count - done;
        const float* const x = packed.data + done * column_tile;
        float* const y = tile.y + done * column_tile;
        if (widest_sparse >= 4 && left >= 4) {
            sparse_columns<widest_sparse >= 4 ? 4 : 1>(layer, first_group, groups, x, tile, y, waiting);
            done += 4;
        } else if (widest_sparse >= 2 && left >= 2) {
            sparse_columns<widest_sparse >= 2 ? 2 : 1>(layer, first_group, groups, x, tile, y, waiting);
            done += 2;
        } else {
            sparse_columns<1>(layer, first_group, groups, x, tile, y, waiting);
            done += 1;
        }
    }
}

template <size_t outputs, size_t width>
void dense_columns(const DenseBlocks& layer, size_t block, const float* weights, const uint32_t* offsets,
                   const float* x, const Tile& tile, float* y) {
    Vector sums[outputs][width * parts] = {};
    for (size_t k = 0; k < layer.fan_in; k++, weights += outputs) {
        Vector columns[width * parts];
        UNROLL for (size_t part = 0; part < width * parts; part++)
            columns[part] = in_register(load(x + offsets[k] + part * lanes));
        UNROLL for (size_t i = 0; i < outputs; i++) {
            const Vector weight = in_register(everywhere(weights[i]));
            UNROLL for (size_t part = 0; part < width * parts; part++) sums[i][part] += weight * columns[part];
        }
    }
    UNROLL for (size_t i = 0; i < outputs; i++)
        if (i < tile.neurons) finish(layer, block * outputs + i, sums[i], width * parts, y + i * tile.stride);
}

template <size_t outputs>
void dense_tile(const DenseBlocks& layer, size_t block, const float* weights, const PackedInput& packed,
                const Tile& tile) {
    for (size_t done = 0; done < packed.count;) {
        const size_t left = packed.count - done;
        const float* x = packed.data + done * column_tile;
        float* y = tile.y + done * column_tile;
        if (widest_dense >= 3 && left >= 3 && left != 4) {
            dense_columns<outputs, widest_dense >= 3 ? 3 : 1>(layer, block, weights, packed.offsets, x, tile, y);
            done += 3;
        } else if (widest_dense >= 2 && left >= 2) {
            dense_columns<outputs, widest_dense >= 2 ? 2 : 1>(layer, block, weights, packed.offsets, x, tile, y);
            done += 2;
        } else {
            dense_columns<outputs, 1>(layer, block, weights, packed.offsets, x, tile, y);
            done += 1;
        }
    }
}

// Weights as floats: where they lie, or decoded.
const float* as_floats(const float* weights, size_t, float*) { return weights; }

const float* as_floats(const uint16_t* halves, size_t size, float* decoded) {
    size_t i = 0;
    for (; i + lanes <= size; i += lanes) store(decoded + i, load_halves(halves + i));
    if (i < size) {
        uint16_t last[lanes] = {};
        std::memcpy(last, halves + i, (size - i) * sizeof last[0]);
        store(decoded + i, load_halves(last));
    }
    return decoded;
}

void dense(const DenseBlocks& layer, size_t block, const PackedInput& packed, const Tile& tile, float* decoded) {
    const size_t size = layer.fan_in * layer.block;
    const float* const weights =
        with_numbers(layer.weights, [&](const auto* all) { return as_floats(all + block * size, size, decoded); });
    if (layer.block == 1) dense_tile<1>(layer, block, weights, packed, tile);
    else dense_tile<dense_block>(layer, block, weights, packed, tile);
}

void to_packed(const Rows& io, size_t fan_in, size_t columns, float* packed) {
    for (size_t first = 0; first < columns; first += lanes) {
        const size_t left = io.count < first ? 0 : io.count - first;
        rows_to_columns(
            left < lanes ? left : lanes, fan_in, [&](size_t row) { return io.x + (first + row) * io.x_stride; },
            packed + first, columns);
    }
    std::memset(packed + fan_in * columns, 0, columns * sizeof(float));
}

void to_rows(const float* tile, size_t stride, float* y, size_t y_stride, size_t rows) {
    for (size_t first = 0; first < rows; first += lanes)
        UNROLL for (size_t neuron = 0; neuron < neuron_block; neuron += lanes) {
            Vector turned[lanes];
            UNROLL for (size_t i = 0; i < lanes; i++) turned[i] = load(tile + (neuron + i) * stride + first);
            turn(turned);
            UNROLL for (size_t row = 0; row < lanes; row++)
                if (first + row < rows) store(y + (first + row) * y_stride + neuron, turned[row]);
        }
}

}  // namespace

const Columns columns{dense_block, sparse, dense, to_packed, to_rows};

}  // namespace sparbor::SPARBOR_KERNELS
