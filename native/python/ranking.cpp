#include "python/ranking.h"

#include <algorithm>

namespace sparbor {

void rank_slots(const Team& team, Rank rank, const Scores& scores, uint8_t* ranks, float* worth) {
    const size_t groups = scores.groups(), width = scores.branch;
    team.run(scores.blocks * groups, [&](size_t piece) {
        const size_t within = piece % groups * scores.group, first = piece / groups * scores.neurons + within;
        const size_t rows = std::min(scores.group, scores.neurons - within);
        float* sums = worth + piece * scores.branches() * width;
        for (size_t row = 0; row < scores.fan_in; row += scores.input_row) {
            for (size_t column = 0; column < scores.input_row; column += width, sums += width) {
                const size_t at = first * scores.fan_in + row + column;
                std::fill_n(sums, width, 0.0f);
                rank(scores.data + at, rows, std::min(width, scores.input_row - column), scores.fan_in, ranks + at,
                     sums);
                for (size_t slot = 0; slot < width; slot++) sums[slot] /= static_cast<float>(rows);
            }
        }
    });
}

}  // namespace sparbor
