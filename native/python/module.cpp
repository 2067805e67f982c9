// What Python sees of the engine. Calls with plain NumPy arrays are taken here directly, because at a microsecond a model
// Python's own checks would cost as much as the model; all others go to runtime.py first.
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

#include <cstring>

#include "ir/operator.h"
#include "kernels/dispatch.h"
#include "ops/convolution/dense_dispatch.h"
#include "plan/assemble.h"
#include "python/training_bindings.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace sparbor {
namespace {

PyArrayObject* as_array(nb::handle h) { return reinterpret_cast<PyArrayObject*>(h.ptr()); }

Geometry as_geometry(const std::vector<int64_t>& numbers) {
    Geometry g;
    static_assert(sizeof g == 19 * sizeof(int64_t));
    if (numbers.size() != 19) throw std::invalid_argument("a geometry has 19 numbers");
    std::memcpy(&g, numbers.data(), sizeof g);
    return g;
}

constexpr int numpy_type(Number type) {
    switch (type) {
        case Number::f32: return NPY_FLOAT32;
        case Number::u16: return NPY_UINT16;
        case Number::u8: return NPY_UINT8;
    }
    return NPY_NOTYPE;  // there is no other, which the compiler does not know
}

// A tensor's numbers where they lie, to be read alone; the program that they are of stays as long as they do. (Were the
// model the owner, and a Python object of it held the view, neither would ever be freed.)
nb::object view_of(const Tensor& tensor, const std::shared_ptr<const Program>& program) {
    std::vector<npy_intp> shape(tensor.shape.begin(), tensor.shape.end());
    PyObject* array = PyArray_SimpleNewFromData(static_cast<int>(shape.size()), shape.data(), numpy_type(tensor.type),
                                                tensor.data.data());
    if (!array) throw nb::python_error();
    nb::object view = nb::steal(array);
    PyArray_CLEARFLAGS(as_array(view), NPY_ARRAY_WRITEABLE);
    using Owner = std::shared_ptr<const Program>;
    nb::capsule owner(new Owner(program), [](void* held) noexcept { delete static_cast<Owner*>(held); });
    if (PyArray_SetBaseObject(as_array(view), owner.release().ptr()) < 0) throw nb::python_error();
    return view;
}

// A model file's program, which has been checked, and the engine that runs it.
class Model {
public:
    Model(const nb::bytes& content, const std::string& isa, size_t threads) : kernels_(find_kernel_set(isa)) {
        if (!kernels_) throw std::invalid_argument("no kernel set named " + isa);
        {
            const nb::gil_scoped_release release;
            program_ = std::make_shared<const Program>(
                read_program(static_cast<const uint8_t*>(content.data()), content.size()));
            engine_ = assemble(*program_, *kernels_, threads);
        }
        threads_ = threads;
        item_in_ = as_sizes(program_->shapes[program_->input]);
        item_out_ = as_sizes(program_->shapes[program_->output]);
    }

    // Whether calls with plain arrays of floats go to Python first.
    void look_at_floats(bool looks) { float_type_ = looks ? NPY_NOTYPE : NPY_FLOAT32; }
    int float_type() const { return float_type_; }

    // The result for plain arrays, or null (and no error set) for anything that needs a closer look. `float_type` is
    // that of arrays that count as floats: a variable, since it costs a call nothing, which one more condition would.
    PyObject* try_run(PyObject* x, PyObject* out, int float_type) {
        if (!PyArray_CheckExact(x)) return nullptr;
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

    size_t workspace_bytes() const { return engine_->workspaces().bytes(); }
    size_t item_bytes() const { return engine_->workspaces().item_bytes(); }
    size_t scratch_bytes() const { return engine_->workspaces().scratch_bytes(); }
    bool takes_bytes() const { return engine_->takes_bytes(); }
    const std::vector<size_t>& item_in() const { return item_in_; }
    const std::vector<size_t>& item_out() const { return item_out_; }
    const std::shared_ptr<const Program>& program() const { return program_; }
    std::string isa() const { return kernels_->name; }
    size_t threads() const { return threads_; }

private:
    static std::vector<size_t> as_sizes(const Shape& shape) { return {shape.begin(), shape.end()}; }

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

    const KernelSet* kernels_;
    size_t threads_;
    std::vector<size_t> item_in_, item_out_;
    int float_type_ = NPY_FLOAT32;
    std::shared_ptr<const Program> program_;
    std::unique_ptr<Engine> engine_;  // points into the program
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

nb::str as_text(const std::string& name) { return nb::str(name.c_str(), name.size()); }

// By layer and part, as exporters read them.
nb::dict tensors(const Model& model) {
    nb::dict layers;
    for (const auto& [name, layer] : model.program()->layers) {
        nb::dict parts;
        for (const auto& [part, tensor] : layer.parts) parts[as_text(part)] = view_of(tensor, model.program());
        layers[as_text(name)] = parts;
    }
    return layers;
}

const char* to_text(Has has) {
    switch (has) {
        case Has::no: return "no";
        case Has::maybe: return "maybe";
        case Has::yes: return "yes";
    }
    return "";  // there is no other, which the compiler does not know
}

// What operations of each kind have: (inputs, 0 for any number; layer; activation; settings and what each is).
nb::dict operators() {
    nb::dict kinds;
    for (const OperatorType* type : operator_types()) {
        nb::dict settings;
        for (const SettingRule& rule : type->settings) settings[rule.name] = to_text(rule.type);
        kinds[type->name] = nb::make_tuple(type->inputs, to_text(type->layer), to_text(type->activation), settings);
    }
    return kinds;
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
    module.def("activations", activation_parameters);

    module.def("takes_tiles", [](const std::vector<int64_t>& geometry) { return takes_tiles(as_geometry(geometry)); },
               "geometry"_a);

    bind_training(module);

    // Its arguments are the fault and the remedy.
    static PyObject* const refused = PyErr_NewException("sparbor._native.RefusedError", PyExc_ValueError, nullptr);
    module.attr("RefusedError") = nb::borrow(refused);
    nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
        try {
            std::rethrow_exception(thrown);
        } catch (const Refused& error) {
            PyErr_SetObject(refused, nb::make_tuple(error.fault(), error.remedy()).ptr());
        }
    });

    // Reads a model file's program and makes nothing of it; its graph, as JSON of today's version.
    module.def("check_model", [](const nb::bytes& content) {
        return read_program(static_cast<const uint8_t*>(content.data()), content.size()).graph;
    });
    module.def("operators", operators);

    nb::class_<Model>(module, "Model", nb::type_slots(model_slots))
        .def(nb::init<const nb::bytes&, const std::string&, size_t>(), "content"_a, "isa"_a, "threads"_a)
        .def("tensors", tensors)
        .def("look_at_floats", &Model::look_at_floats, "looks"_a)
        .def("run_checked", &run_checked, "x"_a, "out"_a.none())
        .def_prop_ro("graph", [](const Model& model) { return model.program()->graph; })
        .def_prop_ro("input_shape", [](const Model& model) { return nb::tuple(nb::cast(model.item_in())); })
        .def_prop_ro("output_shape", [](const Model& model) { return nb::tuple(nb::cast(model.item_out())); })
        .def_prop_ro("takes_bytes", &Model::takes_bytes)
        .def_prop_ro("workspace_bytes", &Model::workspace_bytes)
        .def_prop_ro("item_bytes", &Model::item_bytes)
        .def_prop_ro("scratch_bytes", &Model::scratch_bytes)
        .def_prop_ro("isa", &Model::isa)
        .def_prop_ro("threads", &Model::threads);
}
