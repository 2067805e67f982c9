// Sums of some rows and some groups of neurons, all at once: so each byte that is loaded serves several. Without linkage,
// as vectors.h.
#pragma once

#include "byte_dots.h"
#include "row_tiles.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

// Of some rows and of some panels: groups of neurons, whose weights lie group by group.
template <size_t rows, size_t panels>
struct DotSums {
    Dots at[rows][panels][parts];

    ALWAYS_INLINE Integers part(size_t row, size_t panel, size_t part) const {
        return reinterpret_cast<Integers>(at[row][panel][part]);
    }
};

// Of panels from `group` on, and of rows that begin at x and apart(row) bytes behind it, in which runs of inputs begin
// at `places`.
template <Range range, size_t rows, size_t panels, class Apart>
ALWAYS_INLINE DotSums<rows, panels> sums_of(const DenseByteLayer& layer, size_t group, const uint8_t* x,
                                            const Apart& apart, const uint32_t* places) {
    const size_t panel_bytes = layer.runs * layer.fours * dot_bytes;
    const int8_t* weights = layer.panels + group * panel_bytes;
    Dots sums[rows][panels][parts] = {};
    size_t run = 0;
    do {  // there is a run, and each has a four: without loops that may be none, sums stay in one register each
        const uint8_t* at = x + places[run];
        size_t count = layer.fours;
        do {
            Dots some[panels][parts];
            for_constants<panels * parts>([&](auto i) __attribute__((always_inline)) {
                constexpr size_t panel = i / parts, part = i % parts;
                some[panel][part] = load_weights(weights + panel * panel_bytes + part * sizeof(Dots));
                if constexpr (rows > 1) some[panel][part] = in_register(some[panel][part]);
            });
            for_constants<rows>([&](auto row) __attribute__((always_inline)) {
                const FourInputs<range> inputs(everywhere_of_four(at + apart(row)));
                for_constants<panels * parts>([&](auto i) __attribute__((always_inline)) {
                    constexpr size_t panel = i / parts, part = i % parts;
                    inputs.add(some[panel][part], sums[row][panel][part]);
                });
            });
            at += dot_inputs;
            weights += dot_bytes;
        } while (--count > 0);
    } while (++run < layer.runs);
    DotSums<rows, panels> result;
    for_constants<rows>([&](auto row) __attribute__((always_inline)) {
        for_constants<panels * parts>([&](auto i) __attribute__((always_inline)) {
            result.at[row][i / parts][i % parts] = sums[row][i / parts][i % parts];
        });
    });
    return result;
}

// The same for as many sums as there are registers, of rows that begin apart[row] bytes behind x. A function of its own:
// what follows would take registers from the sums, and GCC then stores those at every step.
template <Range range, size_t rows, size_t panels>
__attribute__((noinline)) DotSums<rows, panels> dot_sums(const DenseByteLayer& layer, size_t group, const uint8_t* x,
                                                         const size_t (&apart)[rows], const uint32_t* places) {
    return sums_of<range, rows, panels>(
        layer, group, x, [&](size_t row) __attribute__((always_inline)) { return apart[row]; }, places);
}

// For how many panels there are registers: beside a row's sums a panel's weights, and what is left of the inputs.
template <size_t rows>
constexpr size_t panels_of_tile() {
    constexpr size_t each = (rows + 1) * parts, fit = (registers_of_tile - 1) / each;
    return fit < 1 ? 1 : fit > 4 ? 4 : fit;
}

// Rows that leave room for one panel at least; more than eight share its weights no better.
constexpr size_t most_dot_rows = [] {
    constexpr size_t fit = (registers_of_tile - 1) / parts - 1;
    return fit < 8 ? fit : size_t{8};
}();

// Calls tile.operator()<panels>(first) for all groups from `first` to `last`, as many at once as there is room for.
template <size_t rows, class Tile>
ALWAYS_INLINE void by_panels(size_t first, size_t last, const Tile& tile) {
    constexpr size_t panels = panels_of_tile<rows>();
    for (; first + panels <= last; first += panels) tile.template operator()<panels>(first);
    by_rows<panels - 1>(first, last - first, tile);
}

}  // namespace
}  // namespace sparbor::SPARBOR_KERNELS
