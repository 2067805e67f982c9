// Attention of a few queries, as when a model writes one token after another: too few to be lanes. The lanes are features:
// of keys while scores are computed, of as many keys at once as their sums can be turned to scores, and then of values.
// Without linkage, as vectors.h.
#pragma once

#include "products.h"
#include "scores.h"
#include "turning.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t few_queries = 4;

inline size_t few_values(size_t value_depth) { return round_up(value_depth, tile_vectors * lanes); }

class FewQueries {
public:
    explicit FewQueries(const AttentionBlock& block)
        : block_(block), scores_(block.scratch), values_(block.scratch + few_queries * most_keys) {}

    bool run() {
        size_t seen = 0;
        for (size_t query = 0; query < block_.queries; query++) {
            top_[query] = least;
            total_[query] = 0;
            if (block_.seen[query] > seen) seen = block_.seen[query];
        }
        const KeyBlocks blocks(seen);
        for (size_t i = 0; i < blocks.count; i++) {
            const size_t first = blocks.first(i), keys = blocks.first(i + 1) - first;
            for (size_t query = 0; query < block_.queries; query++) {
                score(query, first, keys);
                hide(query, first, keys);
                weigh(query, keys);
            }
            add_values(first, keys);
        }
        return give_values(seen > 0);
    }

private:
    float* scores_of(size_t query) const { return scores_ + query * most_keys; }
    float* values_of(size_t query) const { return values_ + query * few_values(block_.value_depth); }

    void score(size_t query, size_t first_key, size_t keys) {
        const float *const k = block_.k + first_key * block_.k_stride, *const q = block_.q[query];
        const size_t last = keys - 1;
        for (size_t first = 0; first < keys; first += lanes) {
            Vector sums[lanes] = {};
            for (size_t feature = 0; feature < block_.depth; feature += lanes) {
                const int64_t left = static_cast<int64_t>(block_.depth - feature);
                const Vector features = load_between(q + feature, 0, left);
                UNROLL for (size_t i = 0; i < lanes; i++) {
                    const size_t key = first + i < last ? first + i : last;  // those that there are not: the last again
                    sums[i] += load_between(k + key * block_.k_stride + feature, 0, left) * features;
                }
            }
            turn(sums);
            UNROLL for (size_t half = lanes / 2; half > 0; half /= 2)
                UNROLL for (size_t i = 0; i < half; i++) sums[i] += sums[i + half];
            store(scores_of(query) + first, sums[0] * everywhere(block_.scale));
        }
    }

    // What there is no key for is hidden too.
    void hide(size_t query, size_t first_key, size_t keys) {
        float* const scores = scores_of(query);
        const size_t seen = block_.seen[query] > first_key ? block_.seen[query] - first_key : 0;
        switch (block_.mask_type) {
            case MaskType::none: break;
            case MaskType::flags: {
                const uint8_t* const flags = static_cast<const uint8_t*>(block_.mask[query]) + first_key;
                for (size_t key = 0; key < keys; key++) scores[key] = flags[key] ? scores[key] : hidden;
                break;
            }
            case MaskType::floats: {
                const float* const mask = static_cast<const float*>(block_.mask[query]) + first_key;
                for (size_t key = 0; key < keys; key++) scores[key] += mask[key];
            }
        }
        for (size_t key = seen < keys ? seen : keys; key < round_up(keys, lanes); key++) scores[key] = hidden;
    }

    void weigh(size_t query, size_t keys) {
        float* const scores = scores_of(query);
        Vector tops = everywhere(top_[query]);
        for (size_t key = 0; key < keys; key += lanes) {
            const Vector some = load(scores + key);
            tops = some > tops ? some : tops;
        }
        float top = tops[0];
        for (size_t lane = 1; lane < lanes; lane++) top = tops[lane] > top ? tops[lane] : top;
        Vector total = {};
        for (size_t key = 0; key < keys; key += lanes) {
            const Vector weights = exponential(load(scores + key) - top);
            store(scores + key, weights);
            total += weights;
        }
        worth_[query] = exponential(everywhere(top_[query] - top))[0];
        top_[query] = top;
        total_[query] *= worth_[query];
        for (size_t lane = 0; lane < lanes; lane++) total_[query] += total[lane];
    }

    // Whole vectors of features: what lies behind them is added up too, and is nobody's.
    void add_values(size_t first_key, size_t keys) {
        by_rows<few_queries>(0, block_.queries, [&]<size_t rows>(size_t) __attribute__((always_inline)) {
            for (size_t feature = 0; feature < block_.value_depth; feature += tile_vectors * lanes) {
                if (block_.value_depth - feature > lanes) add_features<rows, tile_vectors>(first_key, keys, feature);
                else add_features<rows, 1>(first_key, keys, feature);
            }
        });
    }

    template <size_t rows, size_t vectors>
    ALWAYS_INLINE void add_features(size_t first_key, size_t keys, size_t feature) {
        Sums<rows, vectors> sums = {};
        if (first_key > 0)
            UNROLL for (size_t row = 0; row < rows; row++)
                UNROLL for (size_t i = 0; i < vectors; i++)
                    sums.at[row][i] = load(values_of(row) + feature + i * lanes) * worth_[row];
        const float* const v = block_.v + first_key * block_.v_stride + feature;
        add_products(sums, Left{scores_, most_keys, 1}, Right<float>{v, block_.v_stride, lanes}, keys);
        UNROLL for (size_t row = 0; row < rows; row++)
            UNROLL for (size_t i = 0; i < vectors; i++)
                store(values_of(row) + feature + i * lanes, sums.at[row][i]);
    }

    bool give_values(bool any_keys) {
        bool seen = false;
        for (size_t query = 0; query < block_.queries; query++) {
            const bool sees = any_keys && total_[query] != 0;  // NaN too
            const float by = sees ? 1.0f / total_[query] : 0.0f;
            for (size_t feature = 0; feature < block_.value_depth; feature++)
                block_.y[query][feature] = sees ? values_of(query)[feature] * by : 0.0f;
            seen |= sees;
        }
        return seen;
    }

    const AttentionBlock& block_;
    float *const scores_, *const values_;
    float top_[few_queries], total_[few_queries], worth_[few_queries];
};

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
