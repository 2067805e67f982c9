// Dense layers over rows, and products of two matrices: the lanes are outputs, sixteen of which lie side by side on the
// right. Compiled once for each kernel set.
#include "products.h"
#include "turning.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// Calls strip.operator()<vectors>(y, neuron) for two vectors of columns, from `first` to `last`, and for what is left.
template <class Weight, class Strip>
ALWAYS_INLINE void in_strips(const Weight* y, size_t next, size_t block, size_t first, size_t last, const Strip& strip) {
    const auto right = [&](size_t column) {
        const Weight* const at = y + column / neuron_block * block + column % neuron_block;
        return Right<Weight>{at, next, lanes == neuron_block ? block : lanes};
    };
    size_t column = first;
    for (; column + lanes < last; column += tile_vectors * lanes)
        strip.template operator()<tile_vectors>(right(column), column);
    if (column < last) strip.template operator()<1>(right(column), column);
}

template <size_t vectors, class Weight>
void dense_strip(const Right<Weight>& panel, const DenseLayer& layer, const Rows& io, size_t neuron) {
    in_tiles<most_tile_rows>(io.count, [&]<size_t rows>(size_t first) __attribute__((always_inline)) {
        Sums<rows, vectors> sums = {};
        add_products(sums, Left{io.x + first * io.x_stride, io.x_stride, 1}, panel, layer.fan_in);
        const Vector clamp_min = everywhere(layer.clamp_min);
        UNROLL for (size_t i = 0; i < vectors; i++) {
            const Vector scale = load(layer.scale + neuron + i * lanes), bias = load(layer.bias + neuron + i * lanes);
            float* y = io.y + first * io.y_stride + neuron + i * lanes;
            UNROLL for (size_t row = 0; row < rows; row++, y += io.y_stride) {
                const Vector value = sums.at[row][i] * scale + bias;
                store(y, value < clamp_min ? clamp_min : value);  // keeps NaN
            }
        }
    });
}

template <size_t vectors>
void product_strip(const Right<float>& y, const Product& product, size_t column) {
    in_tiles<most_tile_rows>(product.rows, [&]<size_t rows>(size_t first) __attribute__((always_inline)) {
        Sums<rows, vectors> sums = {};
        add_products(sums, Left{product.x + first * product.x_row, product.x_row, product.x_next}, y, product.depth);
        UNROLL for (size_t row = 0; row < rows; row++)
            UNROLL for (size_t i = 0; i < vectors; i++)
                store(product.to + (first + row) * product.to_stride + column + i * lanes, sums.at[row][i]);
    });
}

void multiply(const Product& product) {
    in_strips(product.y, product.y_next, product.y_block, 0, round_up(product.columns, lanes),
              [&]<size_t vectors>(const Right<float>& y, size_t column) {
                  product_strip<vectors>(y, product, column);
              });
}

void pack_columns(const float* y, size_t stride, size_t depth, size_t columns, float* to) {
    for (size_t first = 0; first < round_up(columns, neuron_block); first += lanes) {
        const size_t left = columns < first ? 0 : columns - first, count = left < lanes ? left : lanes;
        float* const block = to + first / neuron_block * neuron_block * depth + first % neuron_block;
        rows_to_columns(
            count, depth, [&](size_t column) { return y + (first + column) * stride; }, block, neuron_block);
    }
}

void turn_rows(const float* x, size_t x_stride, size_t rows, size_t columns, float* y, size_t y_stride) {
    for (size_t first = 0; first < rows; first += lanes) {
        const int64_t left = static_cast<int64_t>(rows - first);
        for (size_t column = 0; column < columns; column += lanes) {
            const float* const from = x + first * x_stride + column;
            const int64_t wide = static_cast<int64_t>(columns - column);
            Vector tile[lanes];
            UNROLL for (int64_t i = 0; i < lanes; i++)
                tile[i] = i < left ? load_between(from + i * x_stride, 0, wide) : Vector{};
            turn(tile);
            UNROLL for (int64_t i = 0; i < lanes; i++)
                if (i < wide) store_first(y + (column + i) * y_stride + first, tile[i], left);
        }
    }
}

}  // namespace

void dense_rows(const DenseLayer& layer, const Rows& io, size_t first, size_t last) {
    with_numbers(layer.panels, [&]<class Weight>(const Weight* panels) {
        in_strips(panels, neuron_block, neuron_block * layer.fan_in, first * neuron_block, last * neuron_block,
                  [&]<size_t vectors>(const Right<Weight>& panel, size_t neuron) {
                      dense_strip<vectors>(panel, layer, io, neuron);
                  });
    });
}

const Products products{multiply, pack_columns, turn_rows};

}  // namespace sparbor::SPARBOR_KERNELS
