// Many numbers as one, as plain loops; compiled like elementwise.cpp, once for each kernel set. A compiler may not
// reorder a sum of floats, so there are as many partial ones as lanes; and partial sums of few numbers each are added,
// because one of many loses what is small.
#include "functions.h"
#include "inlining.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t run_lanes = 32, tile_columns = 64, block = 64;  // partial results, and numbers in each of a block

template <class Number>
constexpr Number least() {
    if constexpr (sizeof(Number) == 1) return 0;
    else return static_cast<Number>(Number{1} << (8 * sizeof(Number) - 2)) * -2;
}
template <>
constexpr float least<float>() { return -infinity; }
template <class Number>
constexpr Number most() { return static_cast<Number>(~least<Number>()); }
template <>
constexpr float most<float>() { return infinity; }

// Whole numbers wrap around.
template <class Number> struct Unsigned { using Type = Number; };
template <> struct Unsigned<int32_t> { using Type = uint32_t; };
template <> struct Unsigned<int64_t> { using Type = uint64_t; };

struct Sum {
    template <class N> static N first() { return 0; }
    template <class N> static N of(N x) { return x; }
    template <class N> static N and_then(N left, N right) {
        using U = typename Unsigned<N>::Type;
        return static_cast<N>(static_cast<U>(left) + static_cast<U>(right));
    }
};
struct SumOfSquares : Sum {
    template <class N> static N of(N x) { return x * x; }
};
struct Product {
    template <class N> static N first() { return 1; }
    template <class N> static N of(N x) { return x; }
    template <class N> static N and_then(N left, N right) {
        using U = typename Unsigned<N>::Type;
        return static_cast<N>(static_cast<U>(left) * static_cast<U>(right));
    }
};
// NaN if any is.
struct Most {
    template <class N> static N first() { return least<N>(); }
    template <class N> static N of(N x) { return x; }
    template <class N> static N and_then(N left, N right) { return right > left || right != right ? right : left; }
};
struct Least {
    template <class N> static N first() { return most<N>(); }
    template <class N> static N of(N x) { return x; }
    template <class N> static N and_then(N left, N right) { return right < left || right != right ? right : left; }
};

template <class How, class Number>
Number of_run(const Number* x, size_t n) {
    Number total = How::template first<Number>();
    while (n > 0) {
        const size_t count = n < block * run_lanes ? n : block * run_lanes;
        Number parts[run_lanes];
        for (Number& part : parts) part = How::template first<Number>();
        size_t i = 0;
        for (; i + run_lanes <= count; i += run_lanes)
            for (size_t lane = 0; lane < run_lanes; lane++)
                parts[lane] = How::and_then(parts[lane], How::of(x[i + lane]));
        for (size_t lane = 0; i < count; i++, lane++) parts[lane] = How::and_then(parts[lane], How::of(x[i]));
        UNROLL for (size_t half = run_lanes / 2; half > 0; half /= 2)
            UNROLL for (size_t lane = 0; lane < half; lane++) parts[lane] = How::and_then(parts[lane], parts[lane + half]);
        total = How::and_then(total, parts[0]);
        x += count;
        n -= count;
    }
    return total;
}

// A tile of columns, whose number may be known to the compiler.
template <class How, class Number>
inline void of_tile(const Number* x, size_t stride, size_t rows, size_t columns, Number* y) {
    for (size_t column = 0; column < columns; column++) y[column] = How::template first<Number>();
    while (rows > 0) {
        const size_t count = rows < block ? rows : block;
        Number parts[tile_columns];
        for (size_t column = 0; column < columns; column++) parts[column] = How::of(x[column]);
        for (size_t row = 1; row < count; row++)
            for (size_t column = 0; column < columns; column++)
                parts[column] = How::and_then(parts[column], How::of(x[row * stride + column]));
        for (size_t column = 0; column < columns; column++) y[column] = How::and_then(y[column], parts[column]);
        x += count * stride;
        rows -= count;
    }
}

template <class How, class Number>
void of_rows(const Number* x, size_t stride, size_t rows, size_t columns, Number* y) {
    size_t done = 0;
    for (; done + tile_columns <= columns; done += tile_columns)
        of_tile<How>(x + done, stride, rows, tile_columns, y + done);
    if (done < columns) of_tile<How>(x + done, stride, rows, columns - done, y + done);
}

template <class How, class Number>
constexpr Reduction<Number> named(const char* name) {
    return {name, of_run<How, Number>, of_rows<How, Number>, How::template and_then<Number>};
}

const Reduction<float> floats[] = {
    named<Sum, float>("sum"),         named<Most, float>("max"), named<Least, float>("min"),
    named<Product, float>("product"), named<SumOfSquares, float>("squares"), {},
};

template <class Number>
const Reduction<Number> all_wholes[] = {
    named<Sum, Number>("sum"),         named<Most, Number>("max"), named<Least, Number>("min"),
    named<Product, Number>("product"), {},
};

const Reduction<uint8_t> bytes[] = {named<Most, uint8_t>("max"), named<Least, uint8_t>("min"), {}};

}  // namespace

const Reductions reductions{floats, all_wholes<int32_t>, all_wholes<int64_t>, bytes};

}  // namespace sparbor::SPARBOR_KERNELS
