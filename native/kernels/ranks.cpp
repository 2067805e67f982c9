// The ranks of numbers within short rows, as choosing a topology needs them; compiled once for each kernel set.
#include <limits>

#include "ranks.h"
#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// Adds to `before` how many of the numbers from `first` on, as many as a vector has, stand before those in `own`: these
// stand, in the row, in front of them all, after them all, or are the same.
enum class Order { in_front, same, after };
template <Order order>
ALWAYS_INLINE void count(const float* values, size_t first, Vector own, Integers places, Integers& before) {
    for (uint32_t other = 0; other < lanes; other++) {
        const Vector value = everywhere(values[first + other]);
        if constexpr (order == Order::in_front) before -= (Integers)(value > own);
        else if constexpr (order == Order::after) before -= (Integers)(value >= own);
        else before -= (Integers)(value > own) | ((Integers)(value == own) & (Integers)(places > other));
    }
}

// A number's rank is how many of its row are larger, and of those that are equal how many stand before it.
template <size_t width>
void rank(const float* scores, size_t rows, size_t numbers, size_t stride, uint8_t* ranks, float* sums) {
    constexpr size_t vectors = width / lanes;
    Integers places;
    for (uint32_t lane = 0; lane < lanes; lane++) places[lane] = lane;
    for (size_t row = 0; row < rows; row++, scores += stride, ranks += stride) {
        float values[width];
        for (size_t i = 0; i < width; i++)
            values[i] = i < numbers ? scores[i] : -std::numeric_limits<float>::infinity();
        uint32_t found[width];
        UNROLL for (size_t i = 0; i < vectors; i++) {
            const Vector own = load(values + i * lanes);
            Integers before{};
            UNROLL for (size_t other = 0; other < i; other++)
                count<Order::after>(values, other * lanes, own, places, before);
            count<Order::same>(values, i * lanes, own, places, before);
            UNROLL for (size_t other = i + 1; other < vectors; other++)
                count<Order::in_front>(values, other * lanes, own, places, before);
            std::memcpy(found + i * lanes, &before, sizeof before);
        }
        for (size_t i = 0; i < width; i++) sums[found[i]] += values[i];
        for (size_t i = 0; i < numbers; i++) ranks[i] = static_cast<uint8_t>(found[i]);
    }
}

}  // namespace

const Ranking ranking{rank<branch_size>, rank<quad_branch>};

}  // namespace sparbor::SPARBOR_KERNELS
