// Attention, softmax(q kᵀ · scale + mask) v, of a block of queries, which are the lanes: no number of a key or a value has
// to be moved, what is done to a score is done to a vector of them, and sums over keys need no sums over lanes. Keys come
// in blocks; of those before, the largest score, the sum and the weighted sum of values are kept, so that all scores are
// never there at once. Compiled once for each kernel set.
#include "few_queries.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t most_queries = tile_vectors * lanes;  // of a block

// The blocks of a call's scratch, in floats.
struct Scratch {
    float *queries, *scores, *values, *mask;

    Scratch(float* at, size_t depth, size_t value_depth) {
        queries = at;
        scores = queries + depth * most_queries;
        values = scores + most_keys * most_queries;
        mask = values + value_depth * most_queries;
    }
};

size_t scratch_floats(size_t depth, size_t value_depth) {
    const size_t few = few_queries * (most_keys + few_values(value_depth));
    const size_t many = (depth + value_depth + 2 * most_keys) * most_queries;
    return few > many ? few : many;
}

template <size_t vectors>
class Block {
public:
    explicit Block(const AttentionBlock& block) : block_(block), at_(block.scratch, block.depth, block.value_depth) {
        UNROLL for (size_t i = 0; i < vectors; i++) {
            top_[i] = everywhere(least);
            total_[i] = Vector{};
            UNROLL for (size_t lane = 0; lane < lanes; lane++) {
                const size_t query = i * lanes + lane;
                seen_[i][lane] = query < block.queries ? static_cast<uint32_t>(block.seen[query]) : 0;
            }
        }
        for (size_t query = 0; query < block.queries; query++) {
            if (block.seen[query] > most_seen_) most_seen_ = block.seen[query];
            if (block.seen[query] < least_seen_) least_seen_ = block.seen[query];
            one_mask_ = one_mask_ && block.mask[query] == block.mask[0];
        }
        if (block.queries < width) least_seen_ = 0;  // the other lanes see nothing
    }

    bool run() {
        take_queries();
        const KeyBlocks blocks(most_seen_);
        for (size_t i = 0; i < blocks.count; i++) {
            const size_t first = blocks.first(i), keys = blocks.first(i + 1) - first;
            score(first, keys);
            hide(first, keys);
            weigh(keys);
            add_values(first, keys);
        }
        return give_values(blocks.count > 0);
    }

private:
    static constexpr size_t width = vectors * lanes;

    static size_t lanes_of(size_t all, size_t vector) {
        const size_t before = vector * lanes;
        return all < before ? 0 : all - before < lanes ? all - before : lanes;
    }

    // As columns, scaled.
    void take_queries() {
        const Vector scale = everywhere(block_.scale);
        for (size_t i = 0; i < vectors; i++)
            rows_to_columns(
                lanes_of(block_.queries, i), block_.depth, [&](size_t lane) { return block_.q[i * lanes + lane]; },
                at_.queries + i * lanes, width);
        for (size_t i = 0; i < block_.depth * vectors; i++)
            store(at_.queries + i * lanes, load(at_.queries + i * lanes) * scale);
    }

    void score(size_t first_key, size_t keys) {
        const float* const k = block_.k + first_key * block_.k_stride;
        in_tiles<most_tile_rows>(keys, [&]<size_t rows>(size_t first) __attribute__((always_inline)) {
            Sums<rows, vectors> sums = {};
            add_products(sums, Left{k + first * block_.k_stride, block_.k_stride, 1},
                         Right<float>{at_.queries, width, lanes}, block_.depth);
            UNROLL for (size_t row = 0; row < rows; row++)
                UNROLL for (size_t i = 0; i < vectors; i++)
                    store(at_.scores + (first + row) * width + i * lanes, sums.at[row][i]);
        });
    }

    void hide(size_t first_key, size_t keys) {
        switch (block_.mask_type) {
            case MaskType::none: break;
            case MaskType::flags:
                if (one_mask_) hide_keys(first_key, keys);
                else hide_flagged(first_key, keys);
                break;
            case MaskType::floats:
                if (one_mask_) add_to_keys(first_key, keys);
                else add_mask(first_key, keys);
        }
        const size_t end = first_key + keys;
        for (size_t key = first_key > least_seen_ ? first_key : least_seen_; key < end; key++) {
            float* const scores = at_.scores + (key - first_key) * width;
            UNROLL for (size_t i = 0; i < vectors; i++)
                store(scores + i * lanes, static_cast<uint32_t>(key) < seen_[i] ? load(scores + i * lanes)
                                                                                : everywhere(hidden));
        }
    }

    const uint8_t* flags(size_t query) const { return static_cast<const uint8_t*>(block_.mask[query]); }
    const float* floats(size_t query) const { return static_cast<const float*>(block_.mask[query]); }

    void hide_keys(size_t first_key, size_t keys) {
        for (size_t key = 0; key < keys; key++)
            if (!flags(0)[first_key + key]) fill(at_.scores + key * width, width, hidden);
    }

    void hide_flagged(size_t first_key, size_t keys) {
        for (size_t query = 0; query < block_.queries; query++) {
            const uint8_t* const seen = flags(query) + first_key;
            float* const scores = at_.scores + query;
            for (size_t key = 0; key < keys; key++) scores[key * width] = seen[key] ? scores[key * width] : hidden;
        }
    }

    void add_to_keys(size_t first_key, size_t keys) {
        for (size_t key = 0; key < keys; key++) {
            const Vector more = everywhere(floats(0)[first_key + key]);
            float* const scores = at_.scores + key * width;
            UNROLL for (size_t i = 0; i < vectors; i++) store(scores + i * lanes, load(scores + i * lanes) + more);
        }
    }

    void add_mask(size_t first_key, size_t keys) {
        for (size_t i = 0; i < vectors; i++)
            rows_to_columns(
                lanes_of(block_.queries, i), keys, [&](size_t lane) { return floats(i * lanes + lane) + first_key; },
                at_.mask + i * lanes, width);
        for (size_t at = 0; at < keys * width; at += lanes)
            store(at_.scores + at, load(at_.scores + at) + load(at_.mask + at));
    }

    // Scores become weights. What was summed up for the keys before is worth less if there is a larger score now.
    void weigh(size_t keys) {
        UNROLL for (size_t i = 0; i < vectors; i++) {
            float* const scores = at_.scores + i * lanes;
            Vector top = top_[i];
            for (size_t key = 0; key < keys; key++) {
                const Vector score = load(scores + key * width);
                top = score > top ? score : top;
            }
            worth_[i] = exponential(top_[i] - top);
            top_[i] = top;
            Vector total = total_[i] * worth_[i];
            for (size_t key = 0; key < keys; key++) {
                const Vector weight = exponential(load(scores + key * width) - top);
                store(scores + key * width, weight);
                total += weight;
            }
            total_[i] = total;
        }
    }

    void add_values(size_t first_key, size_t keys) {
        const float* const v = block_.v + first_key * block_.v_stride;
        in_tiles<most_tile_rows>(block_.value_depth, [&]<size_t rows>(size_t first) __attribute__((always_inline)) {
            Sums<rows, vectors> sums = {};
            float* const values = at_.values + first * width;
            if (first_key > 0)
                UNROLL for (size_t row = 0; row < rows; row++)
                    UNROLL for (size_t i = 0; i < vectors; i++)
                        sums.at[row][i] = load(values + row * width + i * lanes) * worth_[i];
            add_products(sums, Left{v + first, 1, block_.v_stride}, Right<float>{at_.scores, width, lanes}, keys);
            UNROLL for (size_t row = 0; row < rows; row++)
                UNROLL for (size_t i = 0; i < vectors; i++)
                    store(values + row * width + i * lanes, sums.at[row][i]);
        });
    }

    // As rows, divided by the sum of the weights; zeros where no key was seen. Whether any was.
    bool give_values(bool any_keys) {
        bool seen = false;
        for (size_t i = 0; i < vectors; i++) {
            const Vector total = total_[i];
            const size_t queries = lanes_of(block_.queries, i);
            for (size_t lane = 0; lane < queries; lane++) seen |= any_keys && total[lane] != 0;  // NaN too
            const Vector by = total == 0.0f ? Vector{} : 1.0f / total;
            for (size_t first = 0; first < block_.value_depth; first += lanes) {
                const size_t left = block_.value_depth - first;
                Vector tile[lanes];
                UNROLL for (size_t k = 0; k < lanes; k++)
                    tile[k] = any_keys && k < left ? load(at_.values + (first + k) * width + i * lanes) * by : Vector{};
                turn(tile);
                UNROLL for (size_t lane = 0; lane < lanes; lane++)
                    if (lane < queries)
                        store_first(block_.y[i * lanes + lane] + first, tile[lane], static_cast<int64_t>(left));
            }
        }
        return seen;
    }

    const AttentionBlock& block_;
    const Scratch at_;
    Integers seen_[vectors];
    size_t most_seen_ = 0, least_seen_ = ~size_t{0};
    bool one_mask_ = true;
    Vector top_[vectors], total_[vectors], worth_[vectors];
};

bool run(const AttentionBlock& block) {
    if (block.queries <= few_queries) return FewQueries(block).run();
    if (block.queries <= static_cast<size_t>(lanes)) return Block<1>(block).run();
    return Block<tile_vectors>(block).run();
}

}  // namespace

const Attention attention{most_queries, scratch_floats, run};

}  // namespace sparbor::SPARBOR_KERNELS
