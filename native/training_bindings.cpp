#include "training_bindings.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>

#include "dispatch.h"
#include "training.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace sparbor {
namespace {

template <class Number>
using Vector = nb::ndarray<const Number, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class Number>
using OptionalVector = std::optional<Vector<Number>>;

// Rows in lanes: (chunks, rows, lines, pixels, lanes), of which the last lie side by side.
template <class Number>
using Planes = nb::ndarray<Number, nb::ndim<5>, nb::device::cpu>;

// Who does it: a kernel set, so many threads, and where the OpenMP runtime starts them (0: nowhere).
using Workers = std::tuple<std::string, size_t, uintptr_t>;

Team as_team(const Workers& workers) {
    return {reinterpret_cast<Parallel>(std::get<2>(workers)), std::get<1>(workers)};
}

const Training& kernels_of(const Workers& workers) {
    const KernelSet* set = find_kernel_set(std::get<0>(workers));
    if (!set) throw std::invalid_argument("no kernel set named " + std::get<0>(workers));
    return *set->training;
}

template <class Number>
const Number* data_or_null(const OptionalVector<Number>& array) {
    return array ? array->data() : nullptr;
}

SynapseRows as_rows(const Vector<int32_t>& starts, const Vector<int32_t>& inputs,
                    const OptionalVector<int32_t>& positions) {
    const auto unsigned_data = [](const int32_t* data) { return reinterpret_cast<const uint32_t*>(data); };
    return {unsigned_data(starts.data()), unsigned_data(inputs.data()), unsigned_data(data_or_null(positions))};
}

template <class Number>
Place place_of(const Planes<Number>& planes) {
    return {static_cast<size_t>(planes.stride(0)), static_cast<size_t>(planes.stride(2)),
            static_cast<size_t>(planes.stride(3))};
}

// Pixels that lie side by side are as good as lanes: `columns` is how many of those there are then.
template <class X, class Y>
Sweep as_sweep(const Vector<int32_t>& starts, const Planes<X>& x, const Planes<Y>& y, size_t& columns) {
    Sweep sweep{starts.size() - 1, y.shape(0), y.shape(2), y.shape(3), place_of(x), place_of(y)};
    columns = y.shape(4);
    if (sweep.x.pixel == columns && sweep.y.pixel == columns) {
        columns *= sweep.pixels;
        sweep.pixels = 1;
    }
    return sweep;
}

template <class Real>
void sum(const Workers& workers, const Vector<int32_t>& starts, const Vector<int32_t>& inputs,
         const OptionalVector<int32_t>& positions, const Vector<Real>& weights, const OptionalVector<Real>& bias,
         const Planes<const Real>& x, const Planes<Real>& y) {
    const nb::gil_scoped_release release;
    size_t columns;
    const Sweep sweep = as_sweep(starts, x, y, columns);
    const SumOf<Real> job{weights.data(), data_or_null(bias), x.data(), x.shape(4),
                          y.data(),       static_cast<size_t>(y.stride(1)), columns};
    const Training& kernels = kernels_of(workers);
    const auto kernel = [&] {
        if constexpr (std::is_same_v<Real, float>) return kernels.sum;
        else return kernels.sum_doubles;
    }();
    sum_all<Real>(as_team(workers), kernel, as_rows(starts, inputs, positions), job, sweep);
}

template <class Real>
void add_dots(const Workers& workers, const Vector<int32_t>& starts, const Vector<int32_t>& inputs,
              const Planes<const Real>& x, const Planes<const Real>& y,
              const nb::ndarray<Real, nb::ndim<1>, nb::c_contig, nb::device::cpu>& gradients) {
    const nb::gil_scoped_release release;
    size_t columns;
    const Sweep sweep = as_sweep(starts, x, y, columns);
    const DotsOf<Real> job{gradients.data(), x.data(),  x.shape(4),
                           sweep.x.pixel,    y.data(),  static_cast<size_t>(y.stride(1)),
                           sweep.y.pixel,    columns,   1};
    const Training& kernels = kernels_of(workers);
    const auto kernel = [&] {
        if constexpr (std::is_same_v<Real, float>) return kernels.add_dots;
        else return kernels.add_dots_of_doubles;
    }();
    add_all_dots<Real>(as_team(workers), kernel, as_rows(starts, inputs, std::nullopt), job, sweep);
}

template <class Real>
void bind(nb::module_& module) {
    module.def("sum_synapses", sum<Real>, "workers"_a, "starts"_a, "inputs"_a, "positions"_a.none(), "weights"_a,
               "bias"_a.none(), "x"_a, "y"_a);
    module.def("add_synapse_gradients", add_dots<Real>, "workers"_a, "starts"_a, "inputs"_a, "x"_a, "y"_a,
               "gradients"_a);
}

}  // namespace

void bind_training(nb::module_& module) {
    bind<float>(module);
    bind<double>(module);
}

}  // namespace sparbor
