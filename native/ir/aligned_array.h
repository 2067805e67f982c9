// Numbers that start at a cache line, so that no vector of them lies in two.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace sparbor {

template <class Number>
class AlignedArray {
public:
    explicit AlignedArray(size_t count) : numbers_(new (line) Number[count]()) {}
    Number* data() const { return numbers_.get(); }

private:
    static constexpr std::align_val_t line{64};
    struct Free {
        void operator()(Number* numbers) const { operator delete[](numbers, line); }
    };
    std::unique_ptr<Number[], Free> numbers_;
};

}  // namespace sparbor
