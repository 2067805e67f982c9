// Where a model file's bytes come from: memory, or a file that is read part by part, so that its weights are in memory
// once.
#pragma once

#include <cstring>

#include "ir/refused.h"

namespace sparbor {

class Source {
public:
    virtual ~Source() = default;
    virtual uint64_t size() const = 0;
    // Copies bytes that lie within the size.
    virtual void read(uint64_t begin, uint64_t count, uint8_t* to) const = 0;
};

class Memory final : public Source {
public:
    Memory(const uint8_t* data, uint64_t size) : data_(data), size_(size) {}
    uint64_t size() const override { return size_; }
    void read(uint64_t begin, uint64_t count, uint8_t* to) const override {
        if (count > 0) std::memcpy(to, data_ + begin, count);
    }

private:
    const uint8_t* data_;
    uint64_t size_;
};

}  // namespace sparbor
