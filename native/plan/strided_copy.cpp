#include "plan/strided_copy.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "ir/shape.h"

namespace sparbor {
namespace {

constexpr size_t bytes_at_once = 64 * 1024, columns_at_once = 64;  // of a unit

// Calls with the type of as many bytes as a number has.
template <class Use>
void with_bytes(size_t bytes, const Use& use) {
    if (bytes == 1) use(uint8_t{});
    else if (bytes == 2) use(uint16_t{});
    else if (bytes == 4) use(uint32_t{});
    else use(uint64_t{});
}

template <class T>
void copy_apart(const char* from, size_t from_step, char* to, size_t to_step, size_t count) {
    for (size_t i = 0; i < count; i++, from += from_step, to += to_step) std::memcpy(to, from, sizeof(T));
}

// Goes through a value's numbers in order.
class Cursor {
public:
    explicit Cursor(const Value& value) : value_(value) {}
    size_t place() const { return place_; }  // in numbers

    void advance() {
        for (size_t i = value_.shape.size(); i-- > 0;) {
            place_ += value_.strides[i];
            if (++at_[i] < value_.shape[i]) return;
            place_ -= value_.strides[i] * value_.shape[i];
            at_[i] = 0;
        }
    }

private:
    const Value& value_;
    size_t place_ = 0;
    std::array<uint64_t, most_dimensions> at_{};
};

}  // namespace

StridedCopy::StridedCopy(const Value& from, const Value& to)
    : from_value_(from), to_value_(to), number_bytes_(bytes_of(from.type)), count_(numbers_of(from.shape)),
      way_(Way::by_number) {
    if (!find_loops(from, to)) return;
    choose_way();
    parts_ = ceil_div(inner_.size, part_);
    units_ = parts_;
    for (const Loop& each : around_) units_ *= each.size;
}

// The dimensions of both, divided where only one of them has a border; false where that leaves something over.
bool StridedCopy::find_loops(const Value& from, const Value& to) {
    size_t i = from.shape.size(), j = to.shape.size();
    uint64_t read = 1, written = 1;  // of the dimensions that are being divided
    while (true) {
        while (i > 0 && read == from.shape[i - 1]) i--, read = 1;
        while (j > 0 && written == to.shape[j - 1]) j--, written = 1;
        if (i == 0 || j == 0) return true;  // of both, since they have as many numbers
        const uint64_t left = from.shape[i - 1] / read, room = to.shape[j - 1] / written, size = std::min(left, room);
        if (left % size != 0 || room % size != 0) return false;
        add({size, from.strides[i - 1] * read * number_bytes_, to.strides[j - 1] * written * number_bytes_});
        read *= size;
        written *= size;
    }
}

// The next one outwards, which is one with the last where both go on where that ends.
void StridedCopy::add(const Loop& loop) {
    if (!around_.empty()) {
        Loop& last = around_.back();
        if (loop.from == last.from * last.size && loop.to == last.to * last.size) {
            last.size *= loop.size;
            return;
        }
    }
    around_.push_back(loop);
}

StridedCopy::Loop StridedCopy::take_out(size_t place) {
    const Loop loop = around_[place];
    around_.erase(around_.begin() + static_cast<ptrdiff_t>(place));
    return loop;
}

void StridedCopy::choose_way() {
    const auto find = [&](size_t Loop::* step) {
        for (size_t i = 0; i < around_.size(); i++)
            if (around_[i].*step == number_bytes_) return i;
        return around_.size();
    };
    const size_t read = find(&Loop::from), written = find(&Loop::to);
    const bool turned = read < around_.size() && written < around_.size() && read != written;
    way_ = turned ? Way::turned : Way::apart;
    if (around_.empty()) {
        way_ = Way::run;
        return;
    }
    if (turned) {
        rows_ = around_[written];
        inner_ = take_out(read);
        take_out(written - (written > read));
        part_ = columns_at_once;
        return;
    }
    inner_ = take_out(written < around_.size() ? written : 0);
    if (inner_.from == number_bytes_ && inner_.to == number_bytes_) way_ = Way::run;
    part_ = bytes_at_once / number_bytes_;
}

double StridedCopy::work() const {
    switch (way_) {
        case Way::run: return 0.05 * static_cast<double>(count_ * number_bytes_);
        case Way::turned:
        case Way::apart: return 0.4 * static_cast<double>(count_);
        case Way::by_number: return 0;
    }
    return 0;  // there is no other, which the compiler does not know
}

void StridedCopy::run(const KernelSet& kernels, const void* from, void* to, size_t first, size_t last) const {
    const auto* x = static_cast<const char*>(from);
    auto* y = static_cast<char*>(to);
    if (way_ == Way::by_number) return copy_by_number(x, y);
    if (units_ == 1) return copy_unit(kernels, x, y, 0);
    std::array<size_t, 2 * most_dimensions> at{};
    size_t part = first % parts_, outer = first / parts_;
    for (size_t i = 0; i < around_.size(); outer /= around_[i++].size) {
        at[i] = outer % around_[i].size;
        x += at[i] * around_[i].from;
        y += at[i] * around_[i].to;
    }
    for (size_t unit = first; unit < last; unit++) {
        copy_unit(kernels, x, y, part);
        if (++part < parts_) continue;
        part = 0;
        for (size_t i = 0; i < around_.size(); i++) {
            const Loop& each = around_[i];
            x += each.from;
            y += each.to;
            if (++at[i] < each.size) break;
            x -= each.from * each.size;
            y -= each.to * each.size;
            at[i] = 0;
        }
    }
}

void StridedCopy::copy_by_number(const char* from, char* to) const {
    Cursor read(from_value_), write(to_value_);
    with_bytes(number_bytes_, [&]<class T>(T) {
        for (size_t left = count_; left > 0; left--, read.advance(), write.advance())
            std::memcpy(to + write.place() * sizeof(T), from + read.place() * sizeof(T), sizeof(T));
    });
}

void StridedCopy::copy_unit(const KernelSet& kernels, const char* from, char* to, size_t part) const {
    const size_t first = part * part_, count = std::min(part_, inner_.size - first);
    from += first * inner_.from;
    to += first * inner_.to;
    switch (way_) {
        case Way::run: std::memcpy(to, from, count * number_bytes_); return;
        case Way::apart:
            return with_bytes(number_bytes_, [&]<class T>(T) {
                copy_apart<T>(from, inner_.from, to, inner_.to, count);
            });
        case Way::turned: break;
        case Way::by_number: return;
    }
    if (number_bytes_ == sizeof(float))
        return kernels.products->turn_rows(reinterpret_cast<const float*>(from), rows_.from / sizeof(float), rows_.size,
                                           count, reinterpret_cast<float*>(to), inner_.to / sizeof(float));
    with_bytes(number_bytes_, [&]<class T>(T) {
        for (size_t i = 0; i < count; i++)
            copy_apart<T>(from + i * inner_.from, rows_.from, to + i * inner_.to, rows_.to, rows_.size);
    });
}

Value without_gaps(Number type, const Shape& shape) {
    Value value{type, shape, std::vector<size_t>(shape.size()), 0};
    size_t stride = 1;
    for (size_t i = shape.size(); i-- > 0; stride *= shape[i]) value.strides[i] = stride;
    return value;
}

}  // namespace sparbor
