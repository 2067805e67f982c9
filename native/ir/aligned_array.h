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
    // Of numbers that are still to be set.
    static AlignedArray unset(size_t count) {
        AlignedArray made;
        made.numbers_.reset(new (line) Number[count]);
        return made;
    }
    Number* data() const { return numbers_.get(); }

private:
    AlignedArray() = default;
    static constexpr std::align_val_t line{64};
    struct Free {
        void operator()(Number* numbers) const { operator delete[](numbers, line); }
    };
    std::unique_ptr<Number[], Free> numbers_;
};

}  // namespace sparbor
