// The sparse kernel for sixteen rows at once, as plain loops over vectors of sixteen columns; compiled like
// elementwise.cpp, once for each kernel set. The inputs lie in a panel, a row of sixteen columns for each input, so a
// synapse is one multiply-add of its weight and such a row.
#include <cstring>

#include "../kernels.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

#if defined(__AVX512F__)
constexpr size_t vector_bytes = 64;
#elif defined(__AVX__)
constexpr size_t vector_bytes = 32;
#else
constexpr size_t vector_bytes = 16;
#endif
typedef float Vector __attribute__((vector_size(vector_bytes)));
typedef uint32_t Integers __attribute__((vector_size(vector_bytes)));
typedef uint16_t Shorts __attribute__((vector_size(vector_bytes / 2)));
constexpr size_t parts = column_tile * sizeof(float) / vector_bytes;  // vectors in a row of columns
constexpr size_t turn = 8 / parts;                                    // neurons whose sums are in registers

#define UNROLL _Pragma("GCC unroll 16")

// Synapses of some slots of one group, decoded: the chunk stays in the first cache while neurons take their turns.
struct Chunk {
    static constexpr size_t capacity = 64;
    size_t slots = 0;
    float weights[capacity][group_size];
    uint32_t rows[capacity][group_size];
};

// Padding reads the panel's last row, which is zero.
void decode(const SparseLayer& layer, size_t slot, uint32_t first_row, uint32_t zero_row, Chunk& chunk) {
    float* weights = chunk.weights[chunk.slots];
    uint32_t* rows = chunk.rows[chunk.slots++];
    if (layer.words) {
        const uint16_t* at = layer.words + slot * group_size;
        UNROLL for (size_t lane = 0; lane < group_size; lane += vector_bytes / sizeof(float)) {
            Shorts narrow;
            std::memcpy(&narrow, at + lane, sizeof narrow);
            const Integers words = __builtin_convertvector(narrow, Integers);
            // A half's bits shifted into a float's are the same number 2^-112 times as large.
            const Vector values = reinterpret_cast<Vector>((words & 0x8000u) << 16 | (words & 0x7fffu) << 13) * 0x1p112f;
            const Integers chosen = words == 0 ? zero_row + Integers{} : first_row + (words & (uint32_t{branch_size} - 1));
            std::memcpy(weights + lane, &values, sizeof values);
            std::memcpy(rows + lane, &chosen, sizeof chosen);
        }
    } else {
        const uint8_t* indices = layer.indices + slot * group_size;
        for (size_t lane = 0; lane < group_size; lane++) {
            weights[lane] = layer.weights[slot * group_size + lane];
            rows[lane] = indices[lane] < branch_size ? first_row + indices[lane] : zero_row;
        }
    }
}

// By neuron, its sums over the columns.
struct Sums {
    Vector at[group_size][parts];
};

void add(const Chunk& chunk, const float* panel, Sums& all) {
    for (size_t first = 0; first < group_size; first += turn) {
        Vector sums[turn][parts];
        UNROLL for (size_t i = 0; i < turn; i++)
            UNROLL for (size_t part = 0; part < parts; part++) sums[i][part] = all.at[first + i][part];
        for (size_t slot = 0; slot < chunk.slots; slot++)
            UNROLL for (size_t i = 0; i < turn; i++) {
                const float weight = chunk.weights[slot][first + i];
                const float* row = panel + size_t{chunk.rows[slot][first + i]} * column_tile;
                UNROLL for (size_t part = 0; part < parts; part++)
                    sums[i][part] += weight * reinterpret_cast<const Vector*>(row)[part];
            }
        UNROLL for (size_t i = 0; i < turn; i++)
            UNROLL for (size_t part = 0; part < parts; part++) all.at[first + i][part] = sums[i][part];
    }
}

void sum_group(const SparseLayer& layer, const Group& group, const float* panel, uint32_t zero_row, Sums& sums) {
    Chunk chunk;
    size_t slot = group.slot;
    const uint16_t* branch = layer.branches + group.branch;
    for (const Run* run = layer.runs + group.run; run != layer.runs + group.run + group.runs; run++)
        for (size_t i = 0; i < run->branches; i++, branch++)
            for (size_t k = 0; k < run->slots; k++, slot++) {
                decode(layer, slot, *branch * branch_size, zero_row, chunk);
                if (chunk.slots == Chunk::capacity) {
                    add(chunk, panel, sums);
                    chunk.slots = 0;
                }
            }
    add(chunk, panel, sums);
}

void to_panel(const Rows& io, size_t fan_in, float* panel) {
    for (size_t k = 0; k < fan_in; k++, panel += column_tile)
        for (size_t row = 0; row < column_tile; row++)
            panel[row] = row < io.count ? io.x[row * io.x_stride + k] : 0.0f;
    std::memset(panel, 0, column_tile * sizeof(float));
}

void sparse(const SparseLayer& layer, const float* panel, size_t fan_in, const Rows& io, size_t first, size_t last) {
    for (size_t group = first; group < last; group++) {
        Sums sums{};
        sum_group(layer, layer.groups[group], panel, static_cast<uint32_t>(fan_in), sums);
        for (size_t lane = 0; lane < group_size; lane++) {
            const size_t neuron = group * group_size + lane;
            for (size_t row = 0; row < io.count; row++) {
                const float sum = reinterpret_cast<const float*>(sums.at[lane])[row];
                const float y = sum * layer.scale[neuron] + layer.bias[neuron];
                io.y[row * io.y_stride + neuron] = y < layer.floor ? layer.floor : y;  // keeps NaN
            }
        }
    }
}

}  // namespace

const Columns columns{to_panel, sparse};

}  // namespace sparbor::SPARBOR_KERNELS
