// What Python sees of the engine. Calls with plain NumPy arrays are taken here directly, because at a microsecond a
// model Python's own checks would cost as much as the model; all others go to runtime.py first.
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "ir/operator.h"
#include "kernels/dispatch.h"
#include "ops/sparse_or_dense.h"
#include "plan/session.h"
#include "python/arguments.h"
#include "python/callers.h"
#include "python/file_source.h"
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

nb::str as_text(const std::string& name) { return nb::str(name.c_str(), name.size()); }

const KernelSet& kernels_of(const std::string& isa) {
    const KernelSet* const found = find_kernel_set(isa);
    if (!found) throw std::invalid_argument("no kernel set named " + isa);
    return *found;
}

constexpr int numpy_type(Number type) {
    switch (type) {
        case Number::f32: return NPY_FLOAT32;
        case Number::u16: return NPY_UINT16;
        case Number::u8: return NPY_UINT8;
        case Number::i8: return NPY_INT8;
        case Number::i32: return NPY_INT32;
        case Number::i64: return NPY_INT64;
        case Number::boolean: return NPY_BOOL;
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

// What an input's arrays are like, flat, since each call looks at it.
struct Form {
    explicit Form(const ValueType& value)
        : type(numpy_type(value.type)), dimensions(static_cast<int>(value.shape.size())) {
        for (size_t i = 0; i < value.shape.size(); i++) {
            named[i] = value.shape[i].named();
            sizes[i] = named[i] < 0 ? value.shape[i].at({0, 0}) : 0;
        }
    }

    int type, dimensions;
    std::array<uint64_t, most_dimensions> sizes;
    std::array<int64_t, most_dimensions> named;  // which size a dimension is, or -1
};

// A model file's program, which has been checked, and the engine that runs it.
class Model {
public:
    Model(const nb::bytes& content, const std::string& isa, size_t threads, bool as_stored)
        : Model(Memory(static_cast<const uint8_t*>(content.data()), content.size()), isa, threads, as_stored) {}

    Model(const nb::object& file, const std::string& isa, size_t threads, bool as_stored)
        : Model(FileSource(file), isa, threads, as_stored) {}

    Model(const Source& source, const std::string& isa, size_t threads, bool as_stored)
        : kernels_(&kernels_of(isa)), threads_(threads) {
        {
            const nb::gil_scoped_release release;
            program_ = std::make_shared<const Program>(read_program(source));
            engine_ = std::make_unique<Engine>(*program_, *kernels_, threads, as_stored);
        }
        for (const Port& input : program_->inputs) {
            forms_.emplace_back(program_->values[input.value]);
            input_names_.push_back(as_text(input.name));
        }
        for (const Port& output : program_->outputs) output_names_.push_back(as_text(output.name));
    }

    const std::vector<nb::object>& input_names() const { return input_names_; }
    const std::vector<nb::object>& output_names() const { return output_names_; }

    // Whether calls with plain arrays of floats go to Python first.
    void look_at_floats(bool looks) { float_type_ = looks ? NPY_NOTYPE : NPY_FLOAT32; }
    int float_type() const { return float_type_; }

    // The result for plain arrays, an input each, or null (and no error set) for anything that needs a closer look. It
    // is an array, or a tuple of several; `out` replaces the former. `float_type` is that of arrays that count as
    // floats: a variable, since it costs a call nothing, which one more condition would.
    PyObject* try_run(PyObject* const* x, PyObject* out, int float_type, Session* session = nullptr) {
        const size_t count = program_->inputs.size();
        Sizes sizes(program_->size_names.size(), 0);
        Few<Given> given(count);
        for (size_t i = 0; i < count; i++) {
            if (session && is_state(&State::input, i)) continue;
            const Form& form = forms_[i];
            if (!PyArray_CheckExact(x[i])) return nullptr;
            PyArrayObject* const array = reinterpret_cast<PyArrayObject*>(x[i]);
            const int wanted = form.type == NPY_FLOAT32 ? float_type : form.type;
            if (PyArray_TYPE(array) != wanted) {
                given[i].bytes = engine_->takes_bytes() && PyArray_TYPE(array) == NPY_UINT8;
                if (!given[i].bytes) return nullptr;
            }
            if (!is_plain(array, 0) || !fits(array, form, sizes)) return nullptr;
            given[i].data = PyArray_DATA(array);
        }
        if (session) session->complete(sizes);
        return run(given.begin(), sizes, out, session);
    }

    size_t workspace_bytes() const { return engine_->workspace_bytes(); }
    nb::dict ways(const std::vector<uint64_t>& numbers) const {
        Sizes sizes(program_->size_names.size(), 1);
        if (numbers.size() != program_->size_names.size())
            throw std::invalid_argument("there must be a number for each size");
        for (size_t i = 0; i < numbers.size(); i++) sizes[i] = numbers[i];
        nb::dict ways;
        for (const auto& [layer, way] : engine_->ways(sizes)) ways[as_text(layer)] = way;
        return ways;
    }
    bool takes_bytes() const { return engine_->takes_bytes(); }
    const std::shared_ptr<const Program>& program() const { return program_; }
    Engine& engine() const { return *engine_; }
    std::string isa() const { return kernels_->name; }
    size_t threads() const { return threads_; }

private:
    bool is_state(size_t State::*port, size_t number) const {
        const auto& states = program_->states;
        return std::any_of(states.begin(), states.end(), [&](const State& each) { return each.*port == number; });
    }

    static bool is_plain(PyArrayObject* array, int flags) {
        return PyArray_ISNOTSWAPPED(array) &&
               PyArray_CHKFLAGS(array, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | flags);
    }

    // Whether the array has the shape, of which it says named sizes that no other has said.
    static bool fits(PyArrayObject* array, const Form& form, Sizes& sizes) {
        if (PyArray_NDIM(array) != form.dimensions) return false;
        const npy_intp* const shape = PyArray_DIMS(array);
        for (int i = 0; i < form.dimensions; i++) {
            const auto size = static_cast<uint64_t>(shape[i]);
            uint64_t wanted = form.sizes[i];
            if (form.named[i] >= 0) {
                uint64_t& known = sizes[static_cast<size_t>(form.named[i])];
                if (known == 0) known = size;
                wanted = known;
            }
            if (size != wanted || size == 0) return false;
        }
        return true;
    }

    PyObject* run(const Given* given, const Sizes& sizes, PyObject* out, Session* session) {
        if (session)  // which has an output beside its states
            return run_to_many(session->prepare(sizes), true, [&](void** to) { session->run(given, to); });
        const Lease lease = engine_->prepare(sizes);
        const auto run = [&](void** to) { engine_->run(lease, given, to); };
        if (lease->plan().outputs.size() > 1) return run_to_many(lease->plan(), false, run);
        const Value& value = lease->plan().outputs[0].value;
        if (out && !is_output(out, value)) return nullptr;
        nb::object result = out ? nb::borrow(out) : new_output(value);
        void* data = PyArray_DATA(as_array(result));
        run_unlocked(lease->plan(), run, &data);
        return result.release().ptr();
    }

    // A tuple; a state stays with its session.
    template <class Run>
    PyObject* run_to_many(const Plan& plan, bool in_session, const Run& run) {
        const auto& ports = plan.outputs;
        std::vector<nb::object> results;
        std::vector<void*> data;
        for (size_t i = 0; i < ports.size(); i++) {
            const bool kept = in_session && is_state(&State::output, i);
            results.push_back(kept ? nb::borrow(Py_None) : new_output(ports[i].value));
            data.push_back(kept ? nullptr : PyArray_DATA(as_array(results.back())));
        }
        run_unlocked(plan, run, data.data());
        PyObject* const tuple = PyTuple_New(static_cast<Py_ssize_t>(results.size()));
        if (!tuple) throw nb::python_error();
        for (size_t i = 0; i < results.size(); i++)
            PyTuple_SetItem(tuple, static_cast<Py_ssize_t>(i), results[i].release().ptr());
        return tuple;
    }

    // Without the interpreter's lock, which takes some 30 ns to give and get back: a twentieth of the briefest calls.
    template <class Run>
    void run_unlocked(const Plan& plan, const Run& run, void** outputs) {
        if (engine_->is_brief(plan) && callers_.is_one()) return run(outputs);
        const nb::gil_scoped_release release;
        run(outputs);
    }

    static bool is_output(PyObject* out, const Value& value) {
        auto* const array = reinterpret_cast<PyArrayObject*>(out);
        if (!PyArray_CheckExact(out) || PyArray_TYPE(array) != numpy_type(value.type)) return false;
        bool same =
            is_plain(array, NPY_ARRAY_WRITEABLE) && static_cast<size_t>(PyArray_NDIM(array)) == value.shape.size();
        for (size_t i = 0; same && i < value.shape.size(); i++)
            same = static_cast<uint64_t>(PyArray_DIM(array, static_cast<int>(i))) == value.shape[i];
        return same;
    }

    static nb::object new_output(const Value& value) {
        npy_intp shape[NPY_MAXDIMS];
        std::copy(value.shape.begin(), value.shape.end(), shape);
        PyObject* const array = PyArray_SimpleNew(static_cast<int>(value.shape.size()), shape, numpy_type(value.type));
        if (!array) throw nb::python_error();
        return nb::steal(array);
    }

    const KernelSet* kernels_;
    size_t threads_;
    std::vector<Form> forms_;  // of the inputs
    std::vector<nb::object> input_names_, output_names_;
    int float_type_ = NPY_FLOAT32;
    Callers callers_;
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

// A call of a model with states, by a list of an object for each input: those of states are not looked at.
nb::object run_session(Session& session, nb::handle model, const std::vector<nb::object>& x) {
    if (&nb::inst_ptr<Model>(model)->engine() != &session.engine())
        throw Refused("the session is of another model", "make one of this model");
    std::vector<PyObject*> arrays;
    for (const nb::object& each : x) arrays.push_back(each.ptr());
    PyObject* const result = nb::inst_ptr<Model>(model)->try_run(arrays.data(), nullptr, NPY_FLOAT32, &session);
    if (!result) throw std::invalid_argument("x must be plain arrays that fit");
    return nb::steal(result);
}

// As try_run. If memory runs out, the method `_out_of_memory` of the Python class raises what says so.
PyObject* run_model(PyObject* self, PyObject* const* x, PyObject* out, int float_type) noexcept {
    const auto out_of_memory = [&] { return PyObject_CallMethodObjArgs(self, out_of_memory_name, x[0], nullptr); };
    try {
        return nb::inst_ptr<Model>(self)->try_run(x, out, float_type);
    } catch (nb::python_error& error) {
        if (error.matches(PyExc_MemoryError)) return out_of_memory();
        error.restore();
    } catch (const std::bad_alloc&) {
        return out_of_memory();
    } catch (const Refused& error) {
        PyErr_SetString(PyExc_ValueError, error.fault().c_str());
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

// model(x, ..., out=None), inputs by position or by name: the fast way, or else the method `_checked_call` of the Python
// class.
PyObject* call_model(PyObject* self, PyObject* args, PyObject* kwargs) noexcept {
    PyObject* out = kwargs ? PyDict_GetItemWithError(kwargs, out_name) : nullptr;
    const Model& model = *nb::inst_ptr<Model>(self);
    Arguments given(model.input_names().size());
    if (given.take(model.input_names(), args, kwargs, out) &&
        (!out || out == Py_None || (!given.tensors() && model.output_names().size() == 1))) {
        PyObject* result = run_model(self, given.arrays(), out == Py_None ? nullptr : out, model.float_type());
        if (result) return given.answers(result, model.output_names());
        // Sizes that the model cannot have are refused with the names that they have.
        if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_ValueError)) return nullptr;
        PyErr_Clear();
    }
    return call_method(self, checked_call_name, args, kwargs);
}

// What `_checked_call` has made plain arrays of, one for each input, and has looked at.
nb::object run_checked(nb::handle self, const std::vector<nb::object>& x, nb::handle out) {
    if (x.size() != nb::inst_ptr<Model>(self)->program()->inputs.size())
        throw std::invalid_argument("there must be an array for each input");
    std::vector<PyObject*> arrays;
    for (const nb::object& each : x) arrays.push_back(each.ptr());
    PyObject* result = run_model(self.ptr(), arrays.data(), out.is_none() ? nullptr : out.ptr(), NPY_FLOAT32);
    if (!result && !PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "x and out must be plain arrays that fit");
    if (!result) throw nb::python_error();
    return nb::steal(result);
}

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

// The inputs or outputs: name, type, and a number, a name or a text for each dimension.
nb::list ports(const Program& program, const std::vector<Port>& all) {
    nb::list described;
    for (const Port& port : all) {
        nb::list shape;
        const ValueType& type = program.values[port.value];
        for (const Dimension& each : type.shape) {
            if (each.is_number()) shape.append(each.at({0, 0}));
            else shape.append(as_text(each.text(program.size_names)));
        }
        described.append(nb::make_tuple(as_text(port.name), to_text(type.type), nb::tuple(shape)));
    }
    return described;
}

// What operations of each kind have: (fewest inputs, most or None; layer; activation; settings and what each is).
nb::dict operators() {
    nb::dict kinds;
    for (const OperatorType* type : operator_types()) {
        nb::dict settings;
        for (const SettingRule& rule : type->settings) settings[rule.name] = to_text(rule.type);
        const nb::object most = type->inputs.any() ? nb::object(nb::none()) : nb::int_(type->inputs.most);
        kinds[type->name] = nb::make_tuple(nb::make_tuple(type->inputs.least, most), to_text(type->layer),
                                           to_text(type->activation), settings);
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

    module.def("linear_share", [](size_t rows, const std::string& isa) { return linear_share(rows, kernels_of(isa)); },
               "rows"_a, "isa"_a);
    module.def("byte_linear_share",
               [](size_t rows, const std::string& isa) { return byte_linear_share(rows, kernels_of(isa)); }, "rows"_a,
               "isa"_a);
    module.def("convolution_share",
               [](const std::vector<int64_t>& geometry, const std::string& isa) {
                   return convolution_share(as_geometry(geometry), kernels_of(isa));
               },
               "geometry"_a, "isa"_a);

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

    nb::class_<Session>(module, "Session")
        .def("__init__", [](Session* session, const Model& model) { new (session) Session(model.engine()); },
             nb::keep_alive<1, 2>(), "model"_a)
        .def("run", &run_session, "model"_a, "x"_a)
        .def("reset", &Session::reset);

    nb::class_<Model>(module, "Model", nb::type_slots(model_slots))
        .def(nb::init<const nb::bytes&, const std::string&, size_t, bool>(), "content"_a, "isa"_a, "threads"_a,
             "as_stored"_a = false)
        .def(nb::init<const nb::object&, const std::string&, size_t, bool>(), "content"_a, "isa"_a, "threads"_a,
             "as_stored"_a = false)
        .def("tensors", tensors)
        .def("look_at_floats", &Model::look_at_floats, "looks"_a)
        .def("run_checked", &run_checked, "x"_a, "out"_a.none())
        .def_prop_ro("graph", [](const Model& model) { return model.program()->graph; })
        .def_prop_ro("input_ports", [](const Model& model) { return ports(*model.program(), model.program()->inputs); })
        .def_prop_ro("output_ports",
                     [](const Model& model) { return ports(*model.program(), model.program()->outputs); })
        .def_prop_ro("size_names", [](const Model& model) { return model.program()->size_names; })
        .def_prop_ro("states",
                     [](const Model& model) {
                         std::vector<std::pair<size_t, size_t>> states;
                         for (const State& each : model.program()->states) states.emplace_back(each.input, each.output);
                         return states;
                     })
        .def_prop_ro("takes_bytes", &Model::takes_bytes)
        .def_prop_ro("workspace_bytes", &Model::workspace_bytes)
        .def_prop_ro("item_bytes", [](const Model& model) { return model.engine().item_bytes(); })
        .def("ways", &Model::ways, "sizes"_a)
        .def_prop_ro("isa", &Model::isa)
        .def_prop_ro("threads", &Model::threads);
}
