// Training's kernels, for weights that are kept one by one: a synapse is one multiply-add of its weight and a row of
// numbers, a lane for each item of the batch. Plain loops over vectors, compiled once for each kernel set.
#include <type_traits>
#include <utility>

#include "training.h"
#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// Vectors of floats or doubles.
template <class Real>
struct Lanes {
    typedef Real Vector __attribute__((vector_size(vector_bytes)));
    static constexpr size_t count = vector_bytes / sizeof(Real);
};

template <class Real>
using VectorOf = typename Lanes<Real>::Vector;

// From and to any address of a number. (Clang forgets a lower alignment of a type that a template parameter is part
// of.)
template <class Real>
ALWAYS_INLINE VectorOf<Real> read(const Real* from, size_t vector) {
    VectorOf<Real> value;
    std::memcpy(&value, from + vector * Lanes<Real>::count, sizeof value);
    return value;
}

template <class Real>
ALWAYS_INLINE void write(Real* to, size_t vector, VectorOf<Real> value) {
    std::memcpy(to + vector * Lanes<Real>::count, &value, sizeof value);
}

// One row's sums over some vectors of columns of some pixels, in registers.
struct Sum {
    template <size_t vectors, size_t pixels, class Real>
    static ALWAYS_INLINE void of_row(const SynapseRows& rows, const SumOf<Real>& job, size_t row, size_t offset_x,
                                     size_t offset_y) {
        VectorOf<Real> sums[pixels][vectors];
        Real* y = job.y + row * job.y_stride + offset_y;
        const Real bias = job.bias ? job.bias[row] : 0;
        UNROLL for (size_t pixel = 0; pixel < pixels; pixel++)
            UNROLL for (size_t i = 0; i < vectors; i++)
                sums[pixel][i] = job.goes_on ? read<Real>(y + pixel * job.y_pixel, i) : bias - VectorOf<Real>{};
        for (uint32_t k = rows.firsts[row]; k < rows.ends[row]; k++) {
            const Real weight = job.weights[rows.positions ? rows.positions[k] : k];
            const Real* x = job.x + rows.inputs[k] * job.x_stride + offset_x;
            UNROLL for (size_t pixel = 0; pixel < pixels; pixel++)
                UNROLL for (size_t i = 0; i < vectors; i++) sums[pixel][i] += weight * read(x + pixel * job.x_pixel, i);
        }
        UNROLL for (size_t pixel = 0; pixel < pixels; pixel++)
            UNROLL for (size_t i = 0; i < vectors; i++) write(y + pixel * job.y_pixel, i, sums[pixel][i]);
    }
};

// Lanes from the upper half of so many are added to those of the lower half, until one is left.
template <size_t half, class Real, size_t... lane>
ALWAYS_INLINE VectorOf<Real> folded(VectorOf<Real> sums, std::index_sequence<lane...>) {
    using Index = std::conditional_t<sizeof(Real) == 4, int32_t, int64_t>;
    typedef Index Order __attribute__((vector_size(vector_bytes)));
    return sums + shuffled(sums, sums, Order{static_cast<Index>(lane ^ half)...});
}

template <class Real, size_t half = Lanes<Real>::count / 2>
ALWAYS_INLINE Real total(VectorOf<Real> sums) {
    if constexpr (half == 0) return sums[0];
    else return total<Real, half / 2>(folded<half, Real>(sums, std::make_index_sequence<Lanes<Real>::count>()));
}

// Some vectors of columns of some pixels: one row's stay in registers while its synapses pass.
struct AddDots {
    template <size_t vectors, size_t pixels, class Real>
    static ALWAYS_INLINE void of_row(const SynapseRows& rows, const DotsOf<Real>& job, size_t row, size_t offset_x,
                                     size_t offset_y) {
        constexpr size_t chains = vectors * pixels < 4 ? vectors * pixels : 4;  // of additions, to hide their latency
        VectorOf<Real> y[pixels][vectors];
        UNROLL for (size_t pixel = 0; pixel < pixels; pixel++)
            UNROLL for (size_t i = 0; i < vectors; i++)
                y[pixel][i] = read(job.y + row * job.y_stride + offset_y + pixel * job.y_pixel, i);
        for (uint32_t k = rows.firsts[row]; k < rows.ends[row]; k++) {
            const Real* x = job.x + rows.inputs[k] * job.x_stride + offset_x;
            VectorOf<Real> sums[chains]{};
            UNROLL for (size_t pixel = 0; pixel < pixels; pixel++)
                UNROLL for (size_t i = 0; i < vectors; i++)
                    sums[(pixel * vectors + i) % chains] += y[pixel][i] * read(x + pixel * job.x_pixel, i);
            UNROLL for (size_t chain = 1; chain < chains; chain++) sums[0] += sums[chain];
            job.gradients[k] += total<Real>(sums[0]);
        }
    }
};

// Vectors that registers are left for, beside what passes.
constexpr size_t most_held = vector_bytes == 64 ? 16 : 8;

// Pixels of few vectors from `pixel` on, so many at a time; of those that are left, half as many.
template <class Work, size_t vectors, size_t together = most_held / vectors, class Job>
void by_pixels(const SynapseRows& rows, const Job& job, size_t first, size_t last, size_t pixel = 0) {
    for (; pixel + together <= job.pixels; pixel += together)
        for (size_t row = first; row < last; row++)
            Work::template of_row<vectors, together>(rows, job, row, pixel * job.x_pixel, pixel * job.y_pixel);
    if constexpr (together > 1) by_pixels<Work, vectors, together / 2>(rows, job, first, last, pixel);
}

// Of one pixel, as many columns from `column` on as come in so many vectors.
template <class Work, size_t vectors, class Real, template <class> class JobOf>
void by_columns(const SynapseRows& rows, const JobOf<Real>& job, size_t pixel, size_t first, size_t last,
                size_t& column) {
    constexpr size_t width = vectors * Lanes<Real>::count;
    for (; column + width <= job.columns; column += width)
        for (size_t row = first; row < last; row++)
            Work::template of_row<vectors, 1>(rows, job, row, pixel * job.x_pixel + column,
                                              pixel * job.y_pixel + column);
}

template <class Work, class Real, template <class> class JobOf>
void do_rows(const SynapseRows& rows, const JobOf<Real>& job, size_t first, size_t last) {
    switch (job.columns / Lanes<Real>::count) {
        case 1: return by_pixels<Work, 1>(rows, job, first, last);
        case 2: return by_pixels<Work, 2>(rows, job, first, last);
        case 4: return by_pixels<Work, 4>(rows, job, first, last);
    }
    for (size_t pixel = 0; pixel < job.pixels; pixel++) {
        size_t column = 0;
        by_columns<Work, 8>(rows, job, pixel, first, last, column);
        by_columns<Work, 4>(rows, job, pixel, first, last, column);
        by_columns<Work, 2>(rows, job, pixel, first, last, column);
        by_columns<Work, 1>(rows, job, pixel, first, last, column);
    }
}

}  // namespace

const Training training{do_rows<Sum, float, SumOf>, do_rows<Sum, double, SumOf>, do_rows<AddDots, float, DotsOf>,
                        do_rows<AddDots, double, DotsOf>};

}  // namespace sparbor::SPARBOR_KERNELS
