// What Python sees of the engine. Arguments come from runtime.py and steps.py, of programs that have been checked;
// calls with plain NumPy arrays are taken here directly, because at a microsecond a model Python's own checks would
// cost as much as the model.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

#include <cstring>

#include "convolution.h"
#include "dense_choice.h"
#include "dispatch.h"
#include "training_bindings.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace sparbor {
namespace {

PyArrayObject* as_array(nb::handle h) { return reinterpret_cast<PyArrayObject*>(h.ptr()); }

// The data of an array, or null for None.
template <class T>
const T* data_or_null(const nb::object& array) {
    return array.is_none() ? nullptr : static_cast<const T*>(PyArray_DATA(as_array(array)));
}

Geometry as_geometry(const std::vector<int64_t>& numbers) {
    Geometry g;
    static_assert(sizeof g == 19 * sizeof(int64_t));
    if (numbers.size() != 19) throw std::invalid_argument("a geometry has 19 numbers");
    std::memcpy(&g, numbers.data(), sizeof g);
    return g;
}

// A program under construction and then the engine that runs it.
class Model {
public:
    Model(const std::string& isa, size_t threads, std::vector<size_t> item_in, std::vector<size_t> item_out)
        : kernels_(find_kernel_set(isa)), threads_(threads), item_in_(std::move(item_in)),
          item_out_(std::move(item_out)) {
        if (!kernels_) throw std::invalid_argument("no kernel set named " + isa);
    }

    size_t add_value(size_t buffer, size_t rows, size_t features) {
        values_.push_back({buffer, rows, features});
        return values_.size() - 1;
    }

    void sparse_linear(size_t x, size_t y, nb::object runs_per_group, nb::object run_slots, nb::object run_branches,
                       nb::object branches, nb::object words, nb::object weights, nb::object indices, nb::object scale,
                       nb::object bias, bool padded, bool relu, nb::object activation) {
        const SparseArrays arrays = sparse_arrays(runs_per_group, run_slots, run_branches, branches, words, weights,
                                                  indices, scale, bias, padded);
        steps_.push_back(std::make_unique<SparseLinear>(values_.at(x), values_.at(y), arrays, relu,
                                                        optional_activation(activation)));
    }

    void sparse_conv(size_t x, size_t y, const std::vector<int64_t>& geometry, nb::object runs_per_group,
                     nb::object run_slots, nb::object run_branches, nb::object branches, nb::object words,
                     nb::object weights, nb::object indices, nb::object scale, nb::object bias, bool padded, bool relu,
                     nb::object activation) {
        const SparseArrays arrays = sparse_arrays(runs_per_group, run_slots, run_branches, branches, words, weights,
                                                  indices, scale, bias, padded);
        const Geometry shape = checked(geometry, values_.at(x), values_.at(y));
        const size_t outputs = shape.groups == 1 ? shape.out_channels : arrays.runs_per_group.size() * group_size;
        steps_.push_back(std::make_unique<SparseConvolution>(values_.at(x), values_.at(y), shape,
                                                             std::make_unique<SparseMatrix>(arrays, outputs, relu),
                                                             optional_activation(activation)));
    }

    void dense_conv(size_t x, size_t y, const std::vector<int64_t>& geometry, nb::object weights, nb::object halves,
                    nb::object scale, nb::object bias, bool relu, nb::object activation) {
        const FilterArrays arrays{data_or_null<float>(weights), data_or_null<uint16_t>(halves),
                                  data_or_null<float>(scale), data_or_null<float>(bias)};
        steps_.push_back(make_dense_convolution(*kernels_, values_.at(x), values_.at(y),
                                                checked(geometry, values_.at(x), values_.at(y)), arrays, relu,
                                                optional_activation(activation)));
    }

    void pool(size_t x, size_t y, const std::vector<int64_t>& geometry, const std::string& kind, bool count_include_pad,
              float divisor) {
        const auto of = kind == "max" ? WindowPool::Kind::max : WindowPool::Kind::average;
        steps_.push_back(std::make_unique<WindowPool>(values_.at(x), values_.at(y),
                                                      checked(geometry, values_.at(x), values_.at(y)), of,
                                                      count_include_pad, divisor));
    }

    void adaptive_pool(size_t x, size_t y, const std::vector<int64_t>& geometry, const std::string& kind) {
        const auto of = kind == "max" ? WindowPool::Kind::adaptive_max : WindowPool::Kind::adaptive_average;
        steps_.push_back(std::make_unique<WindowPool>(values_.at(x), values_.at(y),
                                                      checked(geometry, values_.at(x), values_.at(y)), of));
    }

    void concat(const std::vector<size_t>& inputs, size_t y) {
        std::vector<Value> parts;
        for (const size_t input : inputs) parts.push_back(values_.at(input));
        steps_.push_back(std::make_unique<Concatenate>(std::move(parts), values_.at(y)));
    }

    void dense_linear(size_t x, size_t y, nb::object panels, nb::object halves, nb::object scale, nb::object bias,
                      bool relu, nb::object activation) {
        keep({panels, halves});
        steps_.push_back(std::make_unique<DenseLinear>(
            values_.at(x), values_.at(y), data_or_null<float>(panels), data_or_null<uint16_t>(halves),
            data_or_null<float>(scale), data_or_null<float>(bias), relu, optional_activation(activation)));
    }

    void apply(size_t x, size_t y, nb::tuple activation) {
        steps_.push_back(std::make_unique<Apply>(values_.at(x), values_.at(y), *optional_activation(activation)));
    }
    void add(size_t left, size_t right, size_t sum, bool relu, nb::object activation) {
        steps_.push_back(std::make_unique<Add>(values_.at(left), values_.at(right), values_.at(sum), relu,
                                               optional_activation(activation)));
    }
    void scale_shift(size_t x, size_t y, nb::object scale, nb::object shift) {
        keep({scale, shift});
        steps_.push_back(std::make_unique<ScaleShift>(values_.at(x), values_.at(y), data_or_null<float>(scale),
                                                      data_or_null<float>(shift)));
    }
    void channel_scale_shift(size_t x, size_t y, nb::object scale, nb::object shift) {
        keep({scale, shift});
        steps_.push_back(std::make_unique<RowScaleShift>(values_.at(x), values_.at(y), data_or_null<float>(scale),
                                                         data_or_null<float>(shift)));
    }
    void layer_norm(size_t x, size_t y, nb::object scale, nb::object shift, float epsilon) {
        keep({scale, shift});
        steps_.push_back(std::make_unique<LayerNorm>(values_.at(x), values_.at(y), data_or_null<float>(scale),
                                                     data_or_null<float>(shift), epsilon));
    }
    void softmax(size_t x, size_t y) { steps_.push_back(std::make_unique<Softmax>(values_.at(x), values_.at(y))); }
    void reshape(size_t x, size_t y) { steps_.push_back(std::make_unique<Reshape>(values_.at(x), values_.at(y))); }

    void set_byte_input(nb::object scale, nb::object shift) {
        byte_scale_ = floats(scale);
        byte_shift_ = floats(shift);
    }

    void finish(size_t input, size_t output) {
        engine_ = std::make_unique<Engine>(*kernels_, threads_, values_, input, output, std::move(steps_));
        if (!byte_scale_.empty()) engine_->set_byte_input(byte_scale_, byte_shift_);
    }

    // Whether calls with plain arrays of floats go to Python first.
    void look_at_floats(bool looks) { float_type_ = looks ? NPY_NOTYPE : NPY_FLOAT32; }
    int float_type() const { return float_type_; }

    // The result for plain arrays, or null (and no error set) for anything that needs a closer look. `float_type` is
    // that of arrays that count as floats: a variable, since it costs a call nothing, which one more condition would.
    PyObject* try_run(PyObject* x, PyObject* out, int float_type) {
        if (!engine_ || !PyArray_CheckExact(x)) return nullptr;
        const bool bytes = !fits(as_array(x), float_type, item_in_, 0);
        if (bytes && !(engine_->takes_bytes() && fits(as_array(x), NPY_UINT8, item_in_, 0))) return nullptr;
        const npy_intp batch = PyArray_DIM(as_array(x), 0);
        if (batch == 0) return nullptr;
        if (out && (!PyArray_CheckExact(out) || !fits(as_array(out), NPY_FLOAT32, item_out_, NPY_ARRAY_WRITEABLE) ||
                    PyArray_DIM(as_array(out), 0) != batch))
            return nullptr;
        out = out ? Py_NewRef(out) : new_output(batch);
        if (!out) throw nb::python_error();
        try {
            const nb::gil_scoped_release release;
            const void* data = PyArray_DATA(as_array(x));
            auto* y = static_cast<float*>(PyArray_DATA(as_array(out)));
            if (bytes) engine_->run(static_cast<const uint8_t*>(data), y, static_cast<size_t>(batch));
            else engine_->run(static_cast<const float*>(data), y, static_cast<size_t>(batch));
        } catch (...) {
            Py_DECREF(out);
            throw;
        }
        return out;
    }

    size_t workspace_bytes() const { return finished().workspaces().bytes(); }
    size_t item_bytes() const { return finished().workspaces().item_bytes(); }
    size_t scratch_bytes() const { return finished().workspaces().scratch_bytes(); }
    std::string isa() const { return kernels_->name; }
    size_t threads() const { return threads_; }

private:
    SparseArrays sparse_arrays(const nb::object& runs_per_group, const nb::object& run_slots,
                               const nb::object& run_branches, const nb::object& branches, const nb::object& words,
                               const nb::object& weights, const nb::object& indices, const nb::object& scale,
                               const nb::object& bias, bool padded) {
        keep({branches, words, weights, indices});
        const auto* runs = data_or_null<uint16_t>(runs_per_group);
        return {{runs, runs + PyArray_SIZE(as_array(runs_per_group))},
                data_or_null<uint16_t>(run_slots),
                data_or_null<uint16_t>(run_branches),
                data_or_null<uint16_t>(branches),
                data_or_null<uint16_t>(words),
                data_or_null<float>(weights),
                data_or_null<uint8_t>(indices),
                data_or_null<float>(scale),
                data_or_null<float>(bias),
                padded};
    }

    static Geometry checked(const std::vector<int64_t>& numbers, const Value& x, const Value& y) {
        const Geometry g = as_geometry(numbers);
        if (static_cast<size_t>(g.channels) != x.rows || static_cast<size_t>(g.height * g.width) != x.features ||
            static_cast<size_t>(g.out_channels) != y.rows ||
            static_cast<size_t>(g.out_height * g.out_width) != y.features)
            throw std::invalid_argument("a geometry that does not fit its values");
        return g;
    }

    static std::vector<float> floats(const nb::object& array) {
        const auto* data = data_or_null<float>(array);
        return {data, data + PyArray_SIZE(as_array(array))};
    }

    const Engine& finished() const {
        if (!engine_) throw std::logic_error("the model is not finished");
        return *engine_;
    }

    // A name and two parameters.
    std::optional<Activation> optional_activation(const nb::object& triple) const {
        if (triple.is_none()) return std::nullopt;
        const auto name = nb::cast<std::string>(triple[0]);
        for (const NamedMap* each = kernels_->elementwise->maps; each->name; each++)
            if (name == each->name)
                return Activation{each->map, nb::cast<float>(triple[1]), nb::cast<float>(triple[2])};
        throw std::invalid_argument("no activation named " + name);
    }

    static bool fits(PyArrayObject* array, int type, const std::vector<size_t>& item, int flags) {
        if (PyArray_TYPE(array) != type || !PyArray_ISNOTSWAPPED(array)) return false;
        if (!PyArray_CHKFLAGS(array, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | flags)) return false;
        if (static_cast<size_t>(PyArray_NDIM(array)) != item.size() + 1) return false;
        for (size_t i = 0; i < item.size(); i++)
            if (static_cast<size_t>(PyArray_DIM(array, static_cast<int>(i + 1))) != item[i]) return false;
        return true;
    }

    PyObject* new_output(npy_intp batch) const {
        npy_intp shape[NPY_MAXDIMS] = {batch};
        for (size_t i = 0; i < item_out_.size(); i++) shape[i + 1] = static_cast<npy_intp>(item_out_[i]);
        return PyArray_SimpleNew(static_cast<int>(item_out_.size() + 1), shape, NPY_FLOAT32);
    }

    void keep(std::initializer_list<nb::object> arrays) {
        for (const nb::object& array : arrays)
            if (!array.is_none()) kept_.push_back(array);
    }

    const KernelSet* kernels_;
    size_t threads_;
    std::vector<size_t> item_in_, item_out_;
    std::vector<Value> values_;
    std::vector<std::unique_ptr<Step>> steps_;
    std::vector<float> byte_scale_, byte_shift_;
    int float_type_ = NPY_FLOAT32;
    std::vector<nb::object> kept_;  // the arrays that the steps point into
    std::unique_ptr<Engine> engine_;
};

PyObject *out_name, *checked_call_name, *out_of_memory_name;

PyObject* call_method(PyObject* self, PyObject* name, PyObject* args, PyObject* kwargs) {
    PyObject* method = PyObject_GetAttr(self, name);
    if (!method) return nullptr;
    PyObject* result = PyObject_Call(method, args, kwargs);
    Py_DECREF(method);
    return result;
}

PyObject* out_of_memory(PyObject* self, PyObject* x) {
    return PyObject_CallMethodObjArgs(self, out_of_memory_name, x, nullptr);
}

// As try_run. If memory runs out, the method `_out_of_memory` of the Python class raises what says so.
PyObject* run_model(PyObject* self, PyObject* x, PyObject* out, int float_type) noexcept {
    try {
        return nb::inst_ptr<Model>(self)->try_run(x, out, float_type);
    } catch (nb::python_error& error) {
        if (error.matches(PyExc_MemoryError)) return out_of_memory(self, x);
        error.restore();
    } catch (const std::bad_alloc&) {
        return out_of_memory(self, x);
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

// model(x, out=None): the fast way, or else the method `_checked_call` of the Python class. Only functions of the
// limited API, which nanobind builds against.
PyObject* call_model(PyObject* self, PyObject* args, PyObject* kwargs) noexcept {
    PyObject* out = kwargs ? PyDict_GetItemWithError(kwargs, out_name) : nullptr;
    if (PyTuple_Size(args) == 1 && (!kwargs || PyDict_Size(kwargs) == (out ? 1 : 0))) {
        const int float_type = nb::inst_ptr<Model>(self)->float_type();
        PyObject* result = run_model(self, PyTuple_GetItem(args, 0), out == Py_None ? nullptr : out, float_type);
        if (result || PyErr_Occurred()) return result;
    }
    return call_method(self, checked_call_name, args, kwargs);
}

// What `_checked_call` has made plain arrays of, and has looked at.
nb::object run_checked(nb::handle self, nb::handle x, nb::handle out) {
    PyObject* result = run_model(self.ptr(), x.ptr(), out.is_none() ? nullptr : out.ptr(), NPY_FLOAT32);
    if (!result && !PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "x and out must be plain arrays that fit");
    if (!result) throw nb::python_error();
    return nb::steal(result);
}

PyType_Slot model_slots[] = {{Py_tp_call, reinterpret_cast<void*>(call_model)}, {0, nullptr}};

}  // namespace
}  // namespace sparbor

NB_MODULE(_native, module) {
    using namespace sparbor;
    if (PyArray_ImportNumPyAPI() < 0) throw nb::python_error();
    out_name = PyUnicode_InternFromString("out");
    checked_call_name = PyUnicode_InternFromString("_checked_call");
    out_of_memory_name = PyUnicode_InternFromString("_out_of_memory");

    module.def("kernel_sets", [] {
        std::vector<std::string> names;
        for (const KernelSet* set : available_kernel_sets()) names.push_back(set->name);
        return names;
    });
    module.def("activations", [] {
        std::vector<std::string> names;
        for (const NamedMap* each = portable::elementwise.maps; each->name; each++) names.push_back(each->name);
        return names;
    });

    module.def("takes_tiles", [](const std::vector<int64_t>& geometry) { return takes_tiles(as_geometry(geometry)); },
               "geometry"_a);

    bind_training(module);

    nb::class_<Model>(module, "Model", nb::type_slots(model_slots))
        .def(nb::init<const std::string&, size_t, std::vector<size_t>, std::vector<size_t>>(), "isa"_a, "threads"_a,
             "item_in"_a, "item_out"_a)
        .def("add_value", &Model::add_value, "buffer"_a, "rows"_a, "features"_a)
        .def("sparse_linear", &Model::sparse_linear, "x"_a, "y"_a, "runs_per_group"_a, "run_slots"_a,
             "run_branches"_a, "branches"_a, "words"_a.none(), "weights"_a.none(), "indices"_a.none(),
             "scale"_a.none(), "bias"_a.none(), "padded"_a, "relu"_a, "activation"_a.none())
        .def("dense_linear", &Model::dense_linear, "x"_a, "y"_a, "panels"_a.none(), "halves"_a.none(),
             "scale"_a.none(), "bias"_a.none(), "relu"_a, "activation"_a.none())
        .def("sparse_conv", &Model::sparse_conv, "x"_a, "y"_a, "geometry"_a, "runs_per_group"_a, "run_slots"_a,
             "run_branches"_a, "branches"_a, "words"_a.none(), "weights"_a.none(), "indices"_a.none(),
             "scale"_a.none(), "bias"_a.none(), "padded"_a, "relu"_a, "activation"_a.none())
        .def("dense_conv", &Model::dense_conv, "x"_a, "y"_a, "geometry"_a, "weights"_a.none(), "halves"_a.none(),
             "scale"_a.none(), "bias"_a.none(), "relu"_a, "activation"_a.none())
        .def("pool", &Model::pool, "x"_a, "y"_a, "geometry"_a, "kind"_a, "count_include_pad"_a, "divisor"_a)
        .def("adaptive_pool", &Model::adaptive_pool, "x"_a, "y"_a, "geometry"_a, "kind"_a)
        .def("concat", &Model::concat, "inputs"_a, "y"_a)
        .def("layer_norm", &Model::layer_norm, "x"_a, "y"_a, "scale"_a.none(), "shift"_a.none(), "epsilon"_a)
        .def("channel_scale_shift", &Model::channel_scale_shift, "x"_a, "y"_a, "scale"_a, "shift"_a)
        .def("set_byte_input", &Model::set_byte_input, "scale"_a, "shift"_a)
        .def("look_at_floats", &Model::look_at_floats, "looks"_a)
        .def("run_checked", &run_checked, "x"_a, "out"_a.none())
        .def("apply", &Model::apply, "x"_a, "y"_a, "activation"_a)
        .def("add", &Model::add, "left"_a, "right"_a, "sum"_a, "relu"_a = false,
             "activation"_a.none() = nb::none())
        .def("scale_shift", &Model::scale_shift, "x"_a, "y"_a, "scale"_a, "shift"_a)
        .def("softmax", &Model::softmax, "x"_a, "y"_a)
        .def("reshape", &Model::reshape, "x"_a, "y"_a)
        .def("finish", &Model::finish, "input"_a, "output"_a)
        .def_prop_ro("workspace_bytes", &Model::workspace_bytes)
        .def_prop_ro("item_bytes", &Model::item_bytes)
        .def_prop_ro("scratch_bytes", &Model::scratch_bytes)
        .def_prop_ro("isa", &Model::isa)
        .def_prop_ro("threads", &Model::threads);
}
