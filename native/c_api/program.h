// A model file's program as it was read: what model_file.py, program.py and windows.py are for Python.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "../dense_convolution.h"

namespace sparbor::model {

// The file is not one that can run, for this reason.
struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline void require(bool holds, const std::string& fault) {
    if (!holds) throw Refused(fault + "; the file is damaged or was not written by Sparbor");
}

using Shape = std::vector<uint64_t>;

// The product of these numbers if it is at most `most`.
inline std::optional<uint64_t> product(const Shape& shape, uint64_t most) {
    uint64_t result = 1;
    for (const uint64_t each : shape)
        if (each == 0) return 0;
    for (const uint64_t each : shape) {
        if (each > most / result) return std::nullopt;
        result *= each;
    }
    return result;
}

constexpr uint64_t ceil_div(uint64_t value, uint64_t divisor) { return value / divisor + (value % divisor != 0); }

enum class Number { f32, u16, u8 };

struct Tensor {
    Number type;
    Shape shape;
    uint64_t begin, size;  // in the file
    AlignedArray<uint8_t> data{0};

    template <class T>
    const T* as() const { return reinterpret_cast<const T*>(data.data()); }
    uint64_t count() const { return size / (type == Number::f32 ? 4 : type == Number::u16 ? 2 : 1); }
};

struct Layer {
    enum class Kind { sparse, dense, filters, affine };
    Kind kind;
    uint64_t outputs, fan_in;  // of an affine layer, its features and 0
    bool exact;
    std::map<std::string, Tensor> parts;

    template <class T>
    const T* data(const std::string& part) const {  // null if it has none
        const auto found = parts.find(part);
        return found == parts.end() ? nullptr : found->second.as<T>();
    }
    uint64_t bytes() const {
        uint64_t sum = 0;
        for (const auto& [name, part] : parts) sum += part.size;
        return sum;
    }
};

// Of a convolution or a pool; windows.py says what the numbers mean. Bounded once window_fault() has passed it.
struct Window {
    std::array<int64_t, 2> kernel{1, 1}, stride{1, 1};
    std::array<int64_t, 4> padding{};
    std::array<int64_t, 2> dilation{1, 1}, upsample{1, 1};
    int64_t groups = 1;
    bool include_padding = true;
    int64_t divisor = 0;
};

struct NamedActivation {
    std::string name;
    std::array<float, 2> parameters{};
};

enum class Op {
    linear, convolution, affine, channel_affine, layer_norm, activation, softmax, reshape, add, concat, max_pool,
    average_pool, adaptive_max_pool, adaptive_average_pool
};

// Stands after a switch that returns for every Op: the compiler does not know that there are no other values.
[[noreturn]] inline void no_other_operation() { throw std::logic_error("the number of an operation is none of Op's"); }

struct Operation {
    Op op;
    std::string kind;
    std::vector<uint64_t> inputs;
    uint64_t output;
    std::optional<std::string> layer;
    std::optional<NamedActivation> activation;
    Window window;
    float epsilon = 0;
};

struct Program {
    std::vector<Shape> shapes;
    uint64_t input, output;
    std::vector<Operation> operations;
    std::map<std::string, Layer> layers;
    std::vector<float> byte_scale, byte_shift;  // byte · scale + shift; empty if bytes are not taken

    const Layer* layer(const Operation& operation) const {
        return operation.layer ? &layers.at(*operation.layer) : nullptr;
    }
};

// Reads a model file; everything it says is checked before it is believed. Throws Refused.
Program read_program(const uint8_t* data, size_t size);

}  // namespace sparbor::model
