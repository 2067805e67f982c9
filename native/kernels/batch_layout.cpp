// Turns batches around: an item's numbers lie side by side where a model has them, and the lanes of training's kernels
// are the items. Plain vector code, compiled once for each kernel set.
#include <type_traits>
#include <utility>

#include "training.h"
#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// A square of numbers in registers, a vector a row.
template <class Real>
struct Square {
    static constexpr size_t size = vector_bytes / sizeof(Real);
    typedef Real Row __attribute__((vector_size(vector_bytes)));
    using Index = std::conditional_t<sizeof(Real) == 4, int32_t, int64_t>;
    typedef Index Order __attribute__((vector_size(vector_bytes)));

    Row rows[size];

    ALWAYS_INLINE void load(size_t row, const Real* at, size_t count) {
        if (count >= size) {
            std::memcpy(&rows[row], at, sizeof rows[row]);
        } else {
            Real part[size] = {};
            for (size_t i = 0; i < count; i++) part[i] = at[i];
            std::memcpy(&rows[row], part, sizeof part);
        }
    }

    ALWAYS_INLINE void store(size_t row, Real* at, size_t count) const {
        if (count >= size) {
            std::memcpy(at, &rows[row], sizeof rows[row]);
        } else {
            Real part[size];
            std::memcpy(part, &rows[row], sizeof part);
            for (size_t i = 0; i < count; i++) at[i] = part[i];
        }
    }

    // Rows become columns: two rows `distance` apart exchange blocks of that size, for all distances.
    ALWAYS_INLINE void transpose() { exchange<1>(); }

private:
    template <size_t distance, size_t... lane>
    static constexpr Order order(bool second, std::index_sequence<lane...>) {
        return Order{static_cast<Index>(second ? (lane & distance ? size + lane : lane + distance)
                                               : (lane & distance ? size + lane - distance : lane))...};
    }

    template <size_t distance>
    ALWAYS_INLINE void exchange() {
        if constexpr (distance < size) {
            const Order first = order<distance>(false, std::make_index_sequence<size>());
            const Order second = order<distance>(true, std::make_index_sequence<size>());
            UNROLL for (size_t row = 0; row < size; row++)
                if ((row & distance) == 0) {
                    const Row a = rows[row], b = rows[row + distance];
                    rows[row] = shuffled(a, b, first);
                    rows[row + distance] = shuffled(a, b, second);
                }
            exchange<2 * distance>();
        }
    }
};

template <class Real>
void to_batch_layout(const Real* items, size_t item_stride, size_t count, size_t numbers, Real* lanes, size_t stride) {
    constexpr size_t size = Square<Real>::size;
    for (size_t lane = 0; lane < column_tile; lane += size)
        for (size_t first = 0; first < numbers; first += size) {
            Square<Real> square;
            UNROLL for (size_t i = 0; i < size; i++) {
                const bool there = lane + i < count;
                square.load(i, there ? items + (lane + i) * item_stride + first : items, there ? numbers - first : 0);
            }
            square.transpose();
            UNROLL for (size_t i = 0; i < size; i++)
                if (first + i < numbers) square.store(i, lanes + (first + i) * stride + lane, size);
        }
}

template <class Real>
void to_items(const Real* lanes, size_t stride, size_t count, size_t numbers, Real* items, size_t item_stride) {
    constexpr size_t size = Square<Real>::size;
    for (size_t lane = 0; lane < count; lane += size)
        for (size_t first = 0; first < numbers; first += size) {
            Square<Real> square;
            UNROLL for (size_t i = 0; i < size; i++)
                square.load(i, lanes + (first + i) * stride + lane, first + i < numbers ? size : 0);
            square.transpose();
            UNROLL for (size_t i = 0; i < size; i++)
                if (lane + i < count) square.store(i, items + (lane + i) * item_stride + first, numbers - first);
        }
}

}  // namespace

const BatchLayout batch_layout{to_batch_layout<float>, to_batch_layout<double>, to_items<float>, to_items<double>};

}  // namespace sparbor::SPARBOR_KERNELS
