// Sums, products and pools of quantized values: computed of floats in registers, and bytes again at once.
#include <algorithm>

#include "ops/byte_ending.h"
#include "ops/families.h"
#include "ops/pool_window.h"
#include "ops/quantized.h"

namespace sparbor {
namespace {

ByteOperand operand_of(const Node& node, size_t input, const uint8_t* x) {
    const Quantization& quantization = *node.x_quantization(input);
    return {x, quantization.zero, ratio_of(quantization, *node.y_quantization())};
}

class Sum final : public Step {
public:
    Sum(const Node& node, const Placement& at)
        : left_(operand_of(node, 0, nullptr)), right_(operand_of(node, 1, nullptr)), x_{at.x[0].offset, at.x[1].offset},
          y_(at.y.offset), count_(numbers_of(at.y.shape)), ending_(byte_ending_of(node, at.kernels)) {}

    void run(const Call& call) const override {
        constexpr size_t at_once = 4096;  // bytes
        call.split(ceil_div(count_, at_once), 0.05 * static_cast<double>(count_), [&](size_t i, size_t last, size_t) {
            const size_t begin = i * at_once, end = std::min(last * at_once, count_);
            ByteOperand left = left_, right = right_;
            left.x = bytes_at(call, x_[0]) + begin;
            right.x = bytes_at(call, x_[1]) + begin;
            call.kernels.bytes->add(left, right, ending_, end - begin, bytes_at(call, y_) + begin);
        });
    }

private:
    ByteOperand left_, right_;
    size_t x_[2], y_, count_;
    ByteEnding ending_;
};

// Planes times a number for each channel of an item.
class Scale final : public Step {
public:
    Scale(const Node& node, const Placement& at)
        : x_(at.x[0].offset), factors_(at.x[1]), y_(at.y.offset), channels_(at.y.shape[1]),
          pixels_(numbers_of(at.y.shape) / channels_ / at.y.shape[0]),
          operand_(operand_of(node, 0, nullptr)), ending_(byte_ending_of(node, at.kernels)) {}

    size_t scratch_floats() const override { return round_up(channels_, vector_floats); }

    void run(const Call& call) const override {
        const size_t items = factors_.shape[0], parts = ceil_div(pixels_, at_once);
        const double work = 0.05 * static_cast<double>(items * pixels_ * channels_);
        call.split(items * parts, work, [&](size_t i, size_t last, size_t thread) {
            float* const factors = call.scratch(thread);
            for (; i < last; i++) {
                take_factors(call, i / parts, factors);
                const size_t first = i % parts * at_once, begin = (i / parts * pixels_ + first) * channels_;
                call.kernels.bytes->scale(bytes_at(call, x_) + begin, operand_.zero, factors, ending_,
                                          std::min(at_once, pixels_ - first), channels_, bytes_at(call, y_) + begin);
            }
        });
    }

private:
    static constexpr size_t at_once = 256;        // pixels
    static constexpr size_t vector_floats = 16;  // of the widest

    void take_factors(const Call& call, size_t item, float* factors) const {
        const auto* x = reinterpret_cast<const float*>(call.memory() + factors_.offset) + item * factors_.strides[0];
        for (size_t i = 0; i < channels_; i++, x += factors_.strides[1]) factors[i] = *x * operand_.step;
    }

    size_t x_;
    Value factors_;
    size_t y_, channels_, pixels_;
    ByteOperand operand_;
    ByteEnding ending_;
};

// By pool(kernels, x, first row, last row, y) for some rows of an item's pixels.
template <class Pool>
class PoolPixels final : public Step {
public:
    PoolPixels(const Node& node, const Placement& at, const Geometry& planes, Pool pool)
        : x_(at.x[0].offset), y_(at.y.offset), items_(at.y.shape[0]), x_item_(numbers_of(at.x[0].shape) / items_),
          y_item_(numbers_of(at.y.shape) / items_), rows_(static_cast<size_t>(planes.out_height)),
          work_(0.02 * work_of_window(node)), pool_(pool) {}

    void run(const Call& call) const override {
        call.split(items_ * rows_, work_, [&](size_t i, size_t last, size_t) {
            while (i < last) {
                const size_t item = i / rows_, first = i % rows_, end = std::min(rows_, first + last - i);
                pool_(*call.kernels.bytes, bytes_at(call, x_) + item * x_item_, first, end,
                      bytes_at(call, y_) + item * y_item_);
                i += end - first;
            }
        });
    }

private:
    size_t x_, y_, items_, x_item_, y_item_, rows_;
    double work_;
    Pool pool_;
};

template <class Pool>
std::unique_ptr<Step> make_pool(const Node& node, const Placement& at, const Geometry& planes, Pool pool) {
    return std::make_unique<PoolPixels<Pool>>(node, at, planes, pool);
}

void check_sum(const Node& node) {
    check_quantized(node);
    for (size_t i = 0; i < 2; i++) {
        node.require(node.x(i) == node.y());
        check_ratio(node, i);
    }
}

void check_scale(const Node& node) {
    node.require(node.x_quantization() && node.y_quantization() && node.x_type(1) == Number::f32,
                 "it is not of a quantized value and an f32 one to a quantized value");
    Shape channels = node.y();
    std::fill(channels.begin() + 2, channels.end(), 1);
    node.require(node.x() == node.y() && node.x(1) == channels);
    check_ratio(node, 0);
}

void check_max(const Node& node) {
    check_quantized(node);
    check_window_pool(node);
    node.require(*node.x_quantization() == *node.y_quantization(),
                 "its output has another step or zero than its input");
}

// Sums have 32 bits.
void check_average(const Node& node) {
    constexpr int64_t most = 1 << 23;
    check_quantized(node);
    check_average_pool(node);
    check_ratio(node, 0);
    const auto [down, across] = node.settings().pair("kernel");
    node.require(down <= most / across, "its kernel has more than 8,388,608 places");
}

std::unique_ptr<Step> make_sum(const Node& node, const Placement& at) { return std::make_unique<Sum>(node, at); }
std::unique_ptr<Step> make_scale(const Node& node, const Placement& at) { return std::make_unique<Scale>(node, at); }

std::unique_ptr<Step> make_max(const Node& node, const Placement& at) {
    const Geometry planes = geometry_of(node, window_of(node.settings()));
    return make_pool(node, at, planes, [planes](const ByteKernels& kernels, const uint8_t* x, size_t first, size_t last,
                                                uint8_t* y) { kernels.max_pool(planes, x, first, last, y); });
}

std::unique_ptr<Step> make_average(const Node& node, const Placement& at) {
    const Geometry planes = geometry_of(node, window_of(node.settings()));
    const ByteOperand operand = operand_of(node, 0, nullptr);
    const ByteAverage average{operand.zero, operand.step, static_cast<float>(node.settings().whole("divisor")),
                              node.settings().flag("include_padding"), byte_ending_of(node, at.kernels)};
    return make_pool(node, at, planes, [=](const ByteKernels& kernels, const uint8_t* x, size_t first, size_t last,
                                           uint8_t* y) { kernels.average_pool(planes, average, x, first, last, y); });
}

}  // namespace

const std::vector<OperatorType>& quantized_arithmetic_operators() {
    constexpr auto none = Aliasing::none;
    constexpr auto in_place = Aliasing::in_place;
    constexpr auto quantized = Takes::quantized;
    constexpr auto pixels = Lies::pixels;
    static const std::vector<OperatorType> types = {
        {"quantized_add", 2, Has::no, Has::maybe, {}, quantized, pixels, in_place, check_sum, work_of_reading,
         no_layout, make_sum},
        {"quantized_scale", 2, Has::no, Has::no, {}, quantized, pixels, in_place, check_scale, work_of_reading,
         no_layout, make_scale},
        {"quantized_max_pool", 1, Has::no, Has::no, window_settings(), quantized, pixels, none, check_max,
         work_of_window, no_layout, make_max},
        {"quantized_average_pool", 1, Has::no, Has::no, average_settings(), quantized, pixels, none, check_average,
         work_of_window, no_layout, make_average},
    };
    return types;
}

}  // namespace sparbor
