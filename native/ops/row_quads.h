// The quads of a layer of few inputs, copied in the order in which one row goes through them.
#pragma once

#include <cstring>
#include <numeric>
#include <vector>

#include "ir/aligned_array.h"
#include "ops/quad_matrix.h"

namespace sparbor {

inline uint64_t quad_branches(const Layer& layer) { return ceil_div(layer.fan_in, quad_branch); }

// Whether there are registers for all inputs of a row, on the kernel sets that have so many.
inline bool has_few_inputs(const Layer& layer) { return quad_branches(layer) <= most_row_branches; }

class OrderedQuads {
public:
    explicit OrderedQuads(const Layer& layer, const QuadMatrix& matrix)
        : counts_(matrix.groups() * most_row_branches), quads_(matrix.quads() * 2 * quad_bytes),
          row_{counts_.data(), quads_.data(), quad_branches(layer)} {
        const auto place = [](uint64_t group, uint64_t branch) { return group * most_row_branches + branch; };
        for_each_unit(layer, [&](uint64_t, uint64_t group, uint64_t branch) { counts_[place(group, branch)]++; });
        std::vector<size_t> next(counts_.size());
        std::exclusive_scan(counts_.begin(), counts_.end(), next.begin(), size_t{0});
        for_each_unit(layer, [&](uint64_t quad, uint64_t group, uint64_t branch) {
            uint8_t* const to = quads_.data() + next[place(group, branch)]++ * 2 * quad_bytes;
            std::memcpy(to, matrix.layer().indices + quad * quad_bytes, quad_bytes);
            std::memcpy(to + quad_bytes, matrix.layer().weights + quad * quad_bytes, quad_bytes);
        });
    }
    OrderedQuads(const OrderedQuads&) = delete;
    OrderedQuads& operator=(const OrderedQuads&) = delete;

    const RowQuads& row() const { return row_; }

private:
    std::vector<uint8_t> counts_;  // a branch has at most 16
    AlignedArray<uint8_t> quads_;
    RowQuads row_;
};

}  // namespace sparbor
