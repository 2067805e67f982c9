// Many numbers as one, as plain loops; compiled like elementwise.cpp, once for each kernel set. A compiler may not
// reorder a sum of floats, so there are as many partial ones as lanes; and halves of many numbers are added up by
// themselves, because one long sum loses what is small.
#include "functions.h"
#include "inlining.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr size_t run_lanes = 32, tile_columns = 64, block = 64;  // partial results, and numbers in each

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
    if (n > block * run_lanes) {
        const size_t half = n / 2 / run_lanes * run_lanes;
        return How::and_then(of_run<How>(x, half), of_run<How>(x + half, n - half));
    }
    Number parts[run_lanes];
    for (Number& part : parts) part = How::template first<Number>();
    size_t i = 0;
    for (; i + run_lanes <= n; i += run_lanes)
        for (size_t lane = 0; lane < run_lanes; lane++) parts[lane] = How::and_then(parts[lane], How::of(x[i + lane]));
    for (size_t lane = 0; i < n; i++, lane++) parts[lane] = How::and_then(parts[lane], How::of(x[i]));
    UNROLL for (size_t half = run_lanes / 2; half > 0; half /= 2)
        UNROLL for (size_t lane = 0; lane < half; lane++)
            parts[lane] = How::and_then(parts[lane], parts[lane + half]);
    return parts[0];
}

// A tile of columns.
template <class How, class Number>
void of_tile(const Number* x, size_t stride, size_t rows, size_t columns, Number* y) {
    Number parts[tile_columns];
    if (rows > block) {
        of_tile<How>(x, stride, rows / 2, columns, y);
        of_tile<How>(x + rows / 2 * stride, stride, rows - rows / 2, columns, parts);
        for (size_t column = 0; column < columns; column++) y[column] = How::and_then(y[column], parts[column]);
        return;
    }
    for (size_t column = 0; column < columns; column++) parts[column] = How::of(x[column]);
    for (size_t row = 1; row < rows; row++)
        for (size_t column = 0; column < columns; column++)
            parts[column] = How::and_then(parts[column], How::of(x[row * stride + column]));
    for (size_t column = 0; column < columns; column++) y[column] = parts[column];
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
