#include "python/ranking.h"

#include <algorithm>

namespace sparbor {

void rank_slots(const Team& team, const Ranking& kernel, const Scores& scores, uint8_t* ranks, float* worth) {
    const size_t groups = scores.groups(), branches = scores.branches();
    team.run(scores.blocks * groups, [&](size_t piece) {
        const size_t within = piece % groups * scores.group, first = piece / groups * scores.neurons + within;
        const size_t rows = std::min(scores.group, scores.neurons - within);
        for (size_t branch = 0; branch < branches; branch++) {
            const size_t column = branch * branch_size, at = first * scores.fan_in + column;
            float* sums = worth + (piece * branches + branch) * branch_size;
            std::fill_n(sums, branch_size, 0.0f);
            kernel.rank(scores.data + at, rows, std::min<size_t>(branch_size, scores.fan_in - column), scores.fan_in,
                        ranks + at, sums);
            for (size_t slot = 0; slot < branch_size; slot++) sums[slot] /= static_cast<float>(rows);
        }
    });
}

}  // namespace sparbor
