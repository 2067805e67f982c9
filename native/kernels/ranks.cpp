// The ranks of numbers within short rows, as choosing a topology needs them; compiled once for each kernel set.
#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t width = branch_size;
constexpr size_t vectors = width / lanes;

// A number's rank is how many of its row are larger, and of those that are equal how many stand before it.
void rank(const float* values, size_t rows, int64_t* ranks) {
    for (size_t row = 0; row < rows; row++, values += width, ranks += width) {
        Vector own[vectors];
        Integers larger[vectors] = {};
        UNROLL for (size_t i = 0; i < vectors; i++) own[i] = load(values + i * lanes);
        for (size_t other = 0; other < width; other++) {
            const Vector value = everywhere(values[other]);
            UNROLL for (size_t i = 0; i < vectors; i++) larger[i] -= (Integers)(value > own[i]);
        }
        uint32_t counts[width];
        std::memcpy(counts, larger, sizeof counts);
        uint64_t taken = 0;
        for (size_t i = 0; i < width; i++) {
            while (taken >> counts[i] & 1) counts[i]++;
            taken |= uint64_t{1} << counts[i];
            ranks[i] = counts[i];
        }
    }
}

}  // namespace

const Ranking ranking{rank};

}  // namespace sparbor::SPARBOR_KERNELS
