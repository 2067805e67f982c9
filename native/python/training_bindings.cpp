#include "python/training_bindings.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/dispatch.h"
#include "python/ranking.h"
#include "python/training.h"
#include "python/wiring.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace sparbor {
namespace {

template <class Number>
using Vector = nb::ndarray<Number, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class Number>
using OptionalVector = std::optional<Vector<const Number>>;
using Margin = std::pair<size_t, size_t>;  // above and below, left and right

// Batches (items, channels, height, width) and planes (channels, height, width, lanes), in either memory format.
template <class Number>
using Images = nb::ndarray<Number, nb::ndim<4>, nb::device::cpu>;
template <class Number>
using Planes = nb::ndarray<Number, nb::ndim<4>, nb::device::cpu>;

// Who does it: a kernel set, so many threads, and where the OpenMP runtime starts them (0: nowhere).
using Workers = std::tuple<std::string, size_t, uintptr_t>;

Team as_team(const Workers& workers) {
    return {reinterpret_cast<Parallel>(std::get<2>(workers)), std::get<1>(workers)};
}

const KernelSet& kernels_of(const Workers& workers) {
    const KernelSet* set = find_kernel_set(std::get<0>(workers));
    if (!set) throw std::invalid_argument("no kernel set named " + std::get<0>(workers));
    return *set;
}

void check(bool holds, const char* rule) {
    if (!holds) throw std::invalid_argument(std::string("there must be ") + rule);
}

template <class Number>
using Matrix = nb::ndarray<Number, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Bounds = Matrix<const int32_t>;
using MutableBounds = Matrix<int32_t>;

Topology as_topology(const Bounds& bounds, const Vector<const int32_t>& inputs,
                     const OptionalVector<int32_t>& positions) {
    const auto unsigned_data = [](const int32_t* data) { return reinterpret_cast<const uint32_t*>(data); };
    return {unsigned_data(bounds.data()), bounds.shape(0) - 1, bounds.shape(1), unsigned_data(inputs.data()),
            positions ? unsigned_data(positions->data()) : nullptr};
}

// Of one pixel, both formats are the same: that which has fewer lines is faster.
bool by_pixels(size_t height, size_t width, bool channels_last) { return channels_last || height * width == 1; }

template <class Number>
Batch<Number> as_batch(const Images<Number>& images, bool channels_last) {
    return {images.data(), images.shape(0), images.shape(1), images.shape(2), images.shape(3), channels_last};
}

template <class Number>
Lanes<Number> as_lanes(const Planes<Number>& planes, bool channels_last) {
    const auto apart = [&](size_t axis) { return static_cast<size_t>(planes.stride(axis)); };
    return {planes.data(),   planes.shape(0), planes.shape(1),
            planes.shape(2), planes.shape(3), by_pixels(planes.shape(1), planes.shape(2), channels_last),
            apart(0),        apart(1),        apart(2)};
}

template <class Real>
void turn_into_batch_layout(const Workers& workers, const Images<const Real>& x, Margin margin, const Planes<Real>& planes,
          bool channels_last) {
    check(x.shape(0) <= planes.shape(3), "a lane for each item");
    const nb::gil_scoped_release release;
    const Lanes<Real> lanes = as_lanes(planes, channels_last);  // what is one pixel may have a margin
    to_batch_layout<Real>(as_team(workers), TrainingKernels<Real>(kernels_of(workers)),
                          as_batch(x, lanes.channels_last), margin.first, margin.second, lanes);
}

template <class Real>
void sum(const Workers& workers, const Bounds& bounds, const Vector<const int32_t>& inputs,
         const OptionalVector<int32_t>& positions, const Vector<const Real>& weights, const OptionalVector<Real>& bias,
         const Planes<const Real>& x, const Images<Real>& y, bool channels_last) {
    check(inputs.size() == weights.size() && (!positions || positions->size() == weights.size()),
          "a weight for each synapse");
    check(y.shape(0) <= x.shape(3), "a lane for each item");
    check(bounds.shape(1) == y.shape(1) && (!bias || bias->size() == y.shape(1)), "a row for each channel of y");
    const nb::gil_scoped_release release;
    sum_all<Real>(as_team(workers), TrainingKernels<Real>(kernels_of(workers)), as_topology(bounds, inputs, positions),
                  weights.data(), bias ? bias->data() : nullptr, as_lanes(x, channels_last),
                  as_batch(y, by_pixels(y.shape(2), y.shape(3), channels_last)));
}

template <class Real>
void add_dots(const Workers& workers, const Bounds& bounds, const Vector<const int32_t>& inputs,
              const Planes<const Real>& x, const Planes<const Real>& dy, Margin margin, const Vector<Real>& gradients,
              bool channels_last) {
    check(inputs.size() == gradients.size(), "a gradient for each synapse");
    check(bounds.shape(1) == dy.shape(0), "a row for each channel of dy");
    const nb::gil_scoped_release release;
    add_all_dots<Real>(as_team(workers), TrainingKernels<Real>(kernels_of(workers)),
                       as_topology(bounds, inputs, std::nullopt), as_lanes(x, channels_last),
                       as_lanes(dy, channels_last), margin.first, margin.second, gradients.data());
}

// The kernel for branches of this length; null if there is none.
Rank rank_on(const Ranking& ranking, size_t branch) {
    if (branch == branch_size) return ranking.on_branches_of_slots;
    return branch == quad_branch ? ranking.on_branches_of_quads : nullptr;
}

void rank(const Workers& workers, const Matrix<const float>& scores, size_t blocks, size_t group, size_t input_row,
          const Matrix<uint8_t>& ranks, const Matrix<float>& worth) {
    const size_t rows = scores.shape(0), fan_in = scores.shape(1), branch = worth.shape(1);
    check(blocks > 0 && rows % blocks == 0 && group > 0, "blocks of equally many rows, and rows in a group");
    check(input_row > 0 && fan_in % input_row == 0, "input rows that are equally long");
    const Rank kernel = rank_on(*kernels_of(workers).ranking, branch);
    check(kernel != nullptr, "branches of 32 or 64 inputs");
    const Scores matrix{scores.data(), blocks, rows / blocks, fan_in, group, input_row, branch};
    check(ranks.shape(0) == rows && ranks.shape(1) == fan_in, "a rank for each score");
    check(worth.shape(0) == matrix.tiles(), "room for the worth of each slot");
    const nb::gil_scoped_release release;
    rank_slots(as_team(workers), kernel, matrix, ranks.data(), worth.data());
}

using Four = std::tuple<size_t, size_t, size_t, size_t>;
using Three = std::tuple<uint32_t, uint32_t, uint32_t>;

void list(const Vector<const int64_t>& positions, Four shape, Margin dilation, size_t groups, Three inputs,
          Three slopes, const MutableBounds& bounds, const Vector<int32_t>& pixels, const MutableBounds& back_bounds,
          const Vector<int32_t>& back_pixels, const Vector<int32_t>& order) {
    const auto [outputs, fan_in, kernel_h, kernel_w] = shape;
    const size_t count = positions.size();
    const auto as_spacing = [](const Three& spacing) {
        const auto [channel, line, pixel] = spacing;
        return Spacing{channel, line, pixel};
    };
    const auto unsigned_data = [](const Vector<int32_t>& numbers) {
        return reinterpret_cast<uint32_t*>(numbers.data());
    };
    const auto as_lists = [&](const MutableBounds& of_rows, const Vector<int32_t>& read) {
        return RowLists{of_rows.shape(1), of_rows.shape(0) - 1, reinterpret_cast<uint32_t*>(of_rows.data()),
                        unsigned_data(read)};
    };
    check(groups > 0 && outputs % groups == 0, "equally many outputs in each group");
    check(bounds.shape(0) > 1 && back_bounds.shape(0) > 1, "a part at least");
    check(bounds.shape(1) == outputs && back_bounds.shape(1) == fan_in * groups, "bounds for each row");
    check(pixels.size() == count && back_pixels.size() == count && order.size() == count, "room for each synapse");
    for (size_t i = 0; i < count; i++)
        check(positions.data()[i] > (i ? positions.data()[i - 1] : -1), "positions in order");
    check(count == 0 || positions.data()[count - 1] < static_cast<int64_t>(outputs * fan_in * kernel_h * kernel_w),
          "positions within the weight");
    const nb::gil_scoped_release release;
    list_synapses(positions.data(), count,
                  {outputs, fan_in, kernel_h, kernel_w, dilation.first, dilation.second, groups, as_spacing(inputs),
                   as_spacing(slopes)},
                  as_lists(bounds, pixels), as_lists(back_bounds, back_pixels), unsigned_data(order));
}

template <class Real>
void bind(nb::module_& module) {
    module.def("to_batch_layout", turn_into_batch_layout<Real>, "workers"_a, "x"_a.noconvert(), "margin"_a, "planes"_a.noconvert(),
               "channels_last"_a);
    module.def("sum_synapses", sum<Real>, "workers"_a, "bounds"_a.noconvert(), "inputs"_a.noconvert(),
               "positions"_a.none().noconvert(), "weights"_a.noconvert(), "bias"_a.none().noconvert(),
               "x"_a.noconvert(), "y"_a.noconvert(), "channels_last"_a);
    module.def("add_synapse_gradients", add_dots<Real>, "workers"_a, "bounds"_a.noconvert(), "inputs"_a.noconvert(),
               "x"_a.noconvert(), "dy"_a.noconvert(), "margin"_a, "gradients"_a.noconvert(), "channels_last"_a);
}

}  // namespace

void bind_training(nb::module_& module) {
    module.def("rank_slots", rank, "workers"_a, "scores"_a.noconvert(), "blocks"_a, "group"_a, "input_row"_a,
               "ranks"_a.noconvert(), "worth"_a.noconvert());
    module.def("list_synapses", list, "positions"_a.noconvert(), "shape"_a, "dilation"_a, "groups"_a, "inputs"_a,
               "slopes"_a, "bounds"_a.noconvert(), "pixels"_a.noconvert(), "back_bounds"_a.noconvert(),
               "back_pixels"_a.noconvert(), "order"_a.noconvert());
    bind<float>(module);
    bind<double>(module);
}

}  // namespace sparbor
