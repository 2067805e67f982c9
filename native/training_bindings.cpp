#include "training_bindings.h"

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

#include "dispatch.h"
#include "training.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace sparbor {
namespace {

template <class Number>
using Vector = nb::ndarray<Number, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class Number>
using OptionalVector = std::optional<Vector<const Number>>;
using Margin = std::pair<size_t, size_t>;  // above and below, left and right

// Batches (items, channels, height, width) and lanes (chunks, channels, height, width, lanes), in either memory format.
template <class Number>
using Images = nb::ndarray<Number, nb::ndim<4>, nb::device::cpu>;
template <class Number>
using Planes = nb::ndarray<Number, nb::ndim<5>, nb::device::cpu>;

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

using Bounds = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

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
            planes.shape(2), planes.shape(3), planes.shape(4),
            by_pixels(planes.shape(2), planes.shape(3), channels_last),
            apart(0),        apart(1),        apart(2),
            apart(3)};
}

template <class Real>
void turn(const Workers& workers, const Images<const Real>& x, Margin margin, const Planes<Real>& planes,
          bool channels_last) {
    const nb::gil_scoped_release release;
    const Lanes<Real> lanes = as_lanes(planes, channels_last);  // what is one pixel may have a margin
    to_lanes<Real>(as_team(workers), TrainingKernels<Real>(kernels_of(workers)), as_batch(x, lanes.channels_last),
                   margin.first, margin.second, lanes);
}

template <class Real>
void sum(const Workers& workers, const Bounds& bounds, const Vector<const int32_t>& inputs,
         const OptionalVector<int32_t>& positions, const Vector<const Real>& weights, const OptionalVector<Real>& bias,
         const Planes<const Real>& x, const Images<Real>& y, bool channels_last) {
    check(inputs.size() == weights.size() && (!positions || positions->size() == weights.size()),
          "a weight for each synapse");
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
    check(bounds.shape(1) == dy.shape(1), "a row for each channel of dy");
    const nb::gil_scoped_release release;
    add_all_dots<Real>(as_team(workers), TrainingKernels<Real>(kernels_of(workers)),
                       as_topology(bounds, inputs, std::nullopt), as_lanes(x, channels_last), as_lanes(dy, channels_last),
                       margin.first, margin.second, gradients.data());
}

void rank(const Workers& workers, const nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>& values,
          const nb::ndarray<int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>& ranks) {
    if (values.shape(1) != branch_size || ranks.shape(1) != branch_size || values.shape(0) != ranks.shape(0))
        throw std::invalid_argument("ranks are of rows of " + std::to_string(branch_size) + " numbers");
    const nb::gil_scoped_release release;
    constexpr size_t rows = 1024;  // at a time
    as_team(workers).run((values.shape(0) + rows - 1) / rows, [&](size_t piece) {
        const size_t first = piece * rows;
        kernels_of(workers).ranking->rank(values.data() + first * branch_size,
                                          std::min(rows, values.shape(0) - first), ranks.data() + first * branch_size);
    });
}

template <class Real>
void bind(nb::module_& module) {
    module.def("turn_into_lanes", turn<Real>, "workers"_a, "x"_a.noconvert(), "margin"_a, "planes"_a.noconvert(), "channels_last"_a);
    module.def("sum_synapses", sum<Real>, "workers"_a, "bounds"_a.noconvert(), "inputs"_a.noconvert(), "positions"_a.none().noconvert(), "weights"_a.noconvert(),
               "bias"_a.none().noconvert(), "x"_a.noconvert(), "y"_a.noconvert(), "channels_last"_a);
    module.def("add_synapse_gradients", add_dots<Real>, "workers"_a, "bounds"_a.noconvert(), "inputs"_a.noconvert(), "x"_a.noconvert(), "dy"_a.noconvert(),
               "margin"_a, "gradients"_a.noconvert(), "channels_last"_a);
}

}  // namespace

void bind_training(nb::module_& module) {
    module.def("rank_rows", rank, "workers"_a, "values"_a.noconvert(), "ranks"_a.noconvert());
    bind<float>(module);
    bind<double>(module);
}

}  // namespace sparbor
