#include "plan/strided_copy.h"

#include <array>
#include <cstring>

namespace sparbor {
StridedCopy::Runs::Runs(const Value& value) {
    const size_t bytes = bytes_of(value.type);
    bool in_run = true;
    size_t end = 1;  // where the numbers of the inner dimensions end, in numbers
    for (size_t i = value.shape.size(); i-- > 0;) {
        if (value.shape[i] == 1) continue;
        in_run = in_run && value.strides[i] == end;
        if (in_run) {
            length *= value.shape[i];
        } else if (!sizes.empty() && value.strides[i] == end) {
            sizes.back() *= value.shape[i];
        } else {
            sizes.push_back(value.shape[i]);
            steps.push_back(value.strides[i] * bytes);
        }
        end = value.strides[i] * value.shape[i];
    }
}

// Goes through a value's runs, or parts of them.
class StridedCopy::Cursor {
public:
    explicit Cursor(const Runs& runs) : runs_(runs), left_(runs.length) {}

    size_t offset() const { return offset_ + within_; }
    size_t left() const { return left_; }  // numbers, of the run

    void advance(size_t numbers, size_t number_bytes) {
        left_ -= numbers;
        within_ += numbers * number_bytes;
        if (left_ > 0) return;
        left_ = runs_.length;
        within_ = 0;
        for (size_t i = 0; i < runs_.sizes.size(); i++) {
            offset_ += runs_.steps[i];
            if (++at_[i] < runs_.sizes[i]) return;
            offset_ -= runs_.steps[i] * runs_.sizes[i];
            at_[i] = 0;
        }
    }

private:
    const Runs& runs_;
    size_t left_, offset_ = 0, within_ = 0;
    std::array<size_t, most_dimensions> at_{};
};

StridedCopy::StridedCopy(const Value& from, const Value& to)
    : number_bytes_(bytes_of(from.type)), count_(numbers_of(from.shape)), from_(from), to_(to) {}

void StridedCopy::run(const void* from, void* to) const {
    if (from_.sizes.empty() && to_.sizes.empty()) {  // a run each, as for one item of many a model
        std::memcpy(to, from, count_ * number_bytes_);
        return;
    }
    Cursor read(from_), write(to_);
    const auto* x = static_cast<const char*>(from);
    auto* y = static_cast<char*>(to);
    for (size_t left = count_; left > 0;) {
        const size_t numbers = std::min(read.left(), write.left());
        std::memcpy(y + write.offset(), x + read.offset(), numbers * number_bytes_);
        read.advance(numbers, number_bytes_);
        write.advance(numbers, number_bytes_);
        left -= numbers;
    }
}

Value without_gaps(Number type, const Shape& shape) {
    Value value{type, shape, std::vector<size_t>(shape.size()), 0};
    size_t stride = 1;
    for (size_t i = shape.size(); i-- > 0; stride *= shape[i]) value.strides[i] = stride;
    return value;
}

}  // namespace sparbor
