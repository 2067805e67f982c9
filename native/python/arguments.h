// What a call of a model is given and returns, in the ways that need no words: a NumPy array or a tensor for each input,
// by position or by name. Only functions of the limited API, which nanobind builds against.
#pragma once

#include <nanobind/nanobind.h>

#include <array>
#include <vector>

namespace sparbor {

// So many numbers or objects, without an allocation if they are few.
template <class Each>
class Few {
public:
    explicit Few(size_t count) : count_(count), more_(count > few_.size() ? count : 0) {}
    Each* begin() { return more_.empty() ? few_.data() : more_.data(); }
    Each& operator[](size_t i) { return begin()[i]; }
    size_t size() const { return count_; }

private:
    size_t count_;
    std::array<Each, 4> few_{};
    std::vector<Each> more_;
};

// Of torch, once somebody has imported it.
struct Torch {
    PyObject *tensor = nullptr, *from_numpy = nullptr, *numpy = nullptr;  // a type, a function, a method's name

    static const Torch* imported() {
        static Torch torch;
        return torch.tensor || torch.find() ? &torch : nullptr;
    }

private:
    bool find() {
        static PyObject* const name = PyUnicode_InternFromString("torch");  // made once: without torch each call looks
        PyObject* const module = name ? PyImport_GetModule(name) : nullptr;
        if (module) {
            from_numpy = PyObject_GetAttrString(module, "from_numpy");
            numpy = PyUnicode_InternFromString("numpy");
            if (from_numpy && numpy) tensor = PyObject_GetAttrString(module, "Tensor");
            Py_DECREF(module);
        }
        PyErr_Clear();  // while it is being imported it has nothing yet
        return tensor != nullptr;
    }
};

class Arguments {
public:
    explicit Arguments(size_t count) : given_(count), owned_(count) {}

    // Whether there is one for each name, and nothing else but `out`: all of them tensors, as whose arrays they then
    // count, or none.
    bool take(const std::vector<nanobind::object>& names, PyObject* args, PyObject* kwargs, bool has_out) {
        const auto positional = static_cast<size_t>(PyTuple_Size(args)), count = given_.size();
        const size_t named = (kwargs ? static_cast<size_t>(PyDict_Size(kwargs)) : 0) - (has_out ? 1 : 0);
        if (positional + named != count) return false;
        for (size_t i = 0; i < count; i++) {
            given_[i] = i < positional ? PyTuple_GetItem(args, static_cast<Py_ssize_t>(i))
                                       : PyDict_GetItemWithError(kwargs, names[i].ptr());
            if (!given_[i]) return false;
        }
        return are_arrays() || take_tensors();
    }

    PyObject* const* arrays() { return given_.begin(); }
    bool tensors() const { return tensors_; }

    // What the engine has returned, an array or a tuple of several, as the caller wants it; takes the reference.
    PyObject* answers(PyObject* computed, const std::vector<nanobind::object>& names) const {
        if (names.size() == 1) return answer(computed);
        PyObject* const all = PyDict_New();
        bool sound = all != nullptr;
        for (size_t i = 0; sound && i < names.size(); i++) {
            PyObject* const one = PyTuple_GetItem(computed, static_cast<Py_ssize_t>(i));
            Py_INCREF(one);
            PyObject* const made = answer(one);
            sound = made && PyDict_SetItem(all, names[i].ptr(), made) == 0;
            Py_XDECREF(made);
        }
        Py_DECREF(computed);
        if (sound) return all;
        Py_XDECREF(all);
        return nullptr;
    }

private:
    bool are_arrays() {
        const Torch* const torch = Torch::imported();
        for (size_t i = 0; torch && i < given_.size(); i++)
            if (is_tensor(given_[i], *torch)) return false;
        return true;
    }

    static bool is_tensor(PyObject* object, const Torch& torch) {
        return reinterpret_cast<PyObject*>(Py_TYPE(object)) == torch.tensor;
    }

    // One that has no array, on another device or with a gradient, needs words.
    bool take_tensors() {
        const Torch& torch = *Torch::imported();
        tensors_ = true;
        for (size_t i = 0; i < given_.size(); i++) {
            if (!is_tensor(given_[i], torch)) return false;
            owned_[i] = nanobind::steal(PyObject_CallMethodObjArgs(given_[i], torch.numpy, nullptr));
            if (!owned_[i].is_valid()) {
                PyErr_Clear();
                return false;
            }
            given_[i] = owned_[i].ptr();
        }
        return true;
    }

    PyObject* answer(PyObject* computed) const {
        if (!tensors_ || !computed) return computed;
        PyObject* const tensor = PyObject_CallFunctionObjArgs(Torch::imported()->from_numpy, computed, nullptr);
        Py_DECREF(computed);
        return tensor;
    }

    Few<PyObject*> given_;
    Few<nanobind::object> owned_;
    bool tensors_ = false;
};

}  // namespace sparbor
