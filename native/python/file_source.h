// A Python file, as `open(path, "rb")` returns it, as a model file's bytes.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

#include "ir/source.h"

namespace sparbor {

// Called without the interpreter lock, which it takes to read. Exceptions of the file's methods are passed on.
class FileSource final : public Source {
public:
    explicit FileSource(nanobind::object file) : file_(std::move(file)) {
        size_ = nanobind::cast<uint64_t>(file_.attr("seek")(0, 2));
    }

    uint64_t size() const override { return size_; }

    void read(uint64_t begin, uint64_t count, uint8_t* to) const override {
        const nanobind::gil_scoped_acquire acquire;
        file_.attr("seek")(begin);
        while (count > 0) {
            auto* const memory = reinterpret_cast<char*>(to);
            const nanobind::object view = nanobind::steal(PyMemoryView_FromMemory(
                memory, static_cast<Py_ssize_t>(count), PyBUF_WRITE));
            if (!view.is_valid()) throw nanobind::python_error();
            const auto got = nanobind::cast<uint64_t>(file_.attr("readinto")(view));
            require(got > 0 && got <= count, "it ended at byte " + std::to_string(begin) + " while it was read");
            begin += got;
            to += got;
            count -= got;
        }
    }

private:
    nanobind::object file_;
    uint64_t size_;
};

}  // namespace sparbor
