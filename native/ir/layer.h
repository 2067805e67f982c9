// A layer of a model file: the tensors that operations compute with.
#pragma once

#include <map>
#include <string>

#include "ir/aligned_array.h"
#include "ir/number.h"
#include "ir/shape.h"

namespace sparbor {

struct Tensor {
    Number type;
    Shape shape;
    uint64_t begin, size;  // in the file, in bytes
    AlignedArray<uint8_t> data{0};

    template <class T>
    const T* as() const { return reinterpret_cast<const T*>(data.data()); }
    uint64_t count() const { return size / bytes_of(type); }
};

struct Encoding;  // how the weights are stored: encodings/encoding.h, which also reads and checks layers

struct Layer {
    std::string name;
    const Encoding* encoding;
    uint64_t outputs, fan_in;  // of one that scales and shifts, its features and 0; of an array 0
    std::map<std::string, Tensor> parts;

    template <class T>
    const T* data(const char* part) const {  // null if it has none
        const auto found = parts.find(part);
        return found == parts.end() ? nullptr : found->second.as<T>();
    }
    uint64_t bytes() const {
        uint64_t sum = 0;
        for (const auto& [name, part] : parts) sum += part.size;
        return sum;
    }
};

}  // namespace sparbor
