// Training's kernels, for weights that are kept one by one: a synapse is one multiply-add of its weight and a row of
// numbers, a lane for each item of the batch. Plain loops over vectors, compiled once for each kernel set.
#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// Vectors of floats or doubles, at any address of one.
template <class Real>
struct Lanes {
    typedef Real Vector __attribute__((vector_size(vector_bytes), aligned(sizeof(Real))));
    static constexpr size_t count = vector_bytes / sizeof(Real);
};

template <class Real>
using VectorOf = typename Lanes<Real>::Vector;

template <class Real>
ALWAYS_INLINE VectorOf<Real>& at(Real* where, size_t vector) {
    return *reinterpret_cast<VectorOf<Real>*>(where + vector * Lanes<Real>::count);
}

template <class Real>
ALWAYS_INLINE VectorOf<Real> at(const Real* where, size_t vector) {
    return *reinterpret_cast<const VectorOf<Real>*>(where + vector * Lanes<Real>::count);
}

// One row's sums over `block` vectors of columns, in registers.
template <size_t block, class Real>
ALWAYS_INLINE void sum_row(const SynapseRows& rows, const SumOf<Real>& job, size_t row, size_t column) {
    VectorOf<Real> sums[block];
    const Real bias = job.bias ? job.bias[row] : 0;
    UNROLL for (size_t i = 0; i < block; i++) sums[i] = bias - VectorOf<Real>{};
    for (uint32_t k = rows.starts[row]; k < rows.starts[row + 1]; k++) {
        const Real weight = job.weights[rows.positions ? rows.positions[k] : k];
        const Real* x = job.x + rows.inputs[k] * job.x_stride + column;
        UNROLL for (size_t i = 0; i < block; i++) sums[i] += weight * at(x, i);
    }
    UNROLL for (size_t i = 0; i < block; i++) at(job.y + row * job.y_stride + column, i) = sums[i];
}

template <size_t block, class Real>
void sum_blocks(const SynapseRows& rows, const SumOf<Real>& job, size_t first, size_t last, size_t& column) {
    constexpr size_t width = block * Lanes<Real>::count;
    for (; column + width <= job.columns; column += width)
        for (size_t row = first; row < last; row++) sum_row<block>(rows, job, row, column);
}

template <class Real>
void sum(const SynapseRows& rows, const SumOf<Real>& job, size_t first, size_t last) {
    size_t column = 0;
    sum_blocks<8>(rows, job, first, last, column);
    sum_blocks<4>(rows, job, first, last, column);
    sum_blocks<2>(rows, job, first, last, column);
    sum_blocks<1>(rows, job, first, last, column);
}

template <class Real>
ALWAYS_INLINE Real total(VectorOf<Real> sums) {
    Real halves[Lanes<Real>::count];
    std::memcpy(halves, &sums, sizeof halves);
    UNROLL for (size_t half = Lanes<Real>::count / 2; half > 0; half /= 2)
        UNROLL for (size_t i = 0; i < half; i++) halves[i] += halves[i + half];
    return halves[0];
}

// Over several chains of additions, to hide their latency.
template <class Real>
ALWAYS_INLINE Real dot(const DotsOf<Real>& job, const Real* x, const Real* y) {
    constexpr size_t chains = 4;
    const size_t vectors = job.columns / Lanes<Real>::count;
    VectorOf<Real> sums[chains]{};
    for (size_t pixel = 0; pixel < job.pixels; pixel++, x += job.x_pixel, y += job.y_pixel) {
        size_t i = 0;
        for (; i + chains <= vectors; i += chains)
            UNROLL for (size_t chain = 0; chain < chains; chain++) sums[chain] += at(x, i + chain) * at(y, i + chain);
        for (; i < vectors; i++) sums[0] += at(x, i) * at(y, i);
    }
    return total<Real>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <class Real>
void add_dots(const SynapseRows& rows, const DotsOf<Real>& job, size_t first, size_t last) {
    for (size_t row = first; row < last; row++)
        for (uint32_t k = rows.starts[row]; k < rows.starts[row + 1]; k++)
            job.gradients[k] += dot(job, job.x + rows.inputs[k] * job.x_stride, job.y + row * job.y_stride);
}

}  // namespace

const Training training{sum<float>, sum<double>, add_dots<float>, add_dots<double>};

}  // namespace sparbor::SPARBOR_KERNELS
