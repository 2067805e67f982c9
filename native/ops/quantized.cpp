// Values of bytes with a step and a zero: numbers that become such bytes, and back; and bytes that become others, each
// by itself.
#include <array>
#include <numeric>

#include "ops/byte_ending.h"
#include "ops/families.h"
#include "ops/pixel_lines.h"
#include "ops/quantized.h"

namespace sparbor {
namespace {

// Floats on one side, quantized pixels on the other: part(floats, steps, bytes) for some pixels of a line.
class FloatsAndPixels : public Step {
public:
    FloatsAndPixels(const Value& floats, const Value& bytes, const ByteRange& range)
        : range_(range), lines_(floats), bytes_(bytes.offset) {}

protected:
    template <class Part>
    void for_parts(const Call& call, const Part& part) const {
        const PixelSteps& steps = lines_.steps();
        const size_t parts = ceil_div(steps.pixels, at_once), count = lines_.lines() * parts;
        const double work = 0.1 * static_cast<double>(lines_.lines() * steps.pixels * steps.channels);
        call.split(count, work, [&](size_t i, size_t last, size_t) {
            for (; i < last; i++) {
                const size_t line = i / parts, first = i % parts * at_once;
                PixelSteps some = steps;
                some.pixels = std::min(at_once, steps.pixels - first);
                part(reinterpret_cast<float*>(call.memory()) + lines_.begin(line) + first * steps.pixel, some,
                     reinterpret_cast<uint8_t*>(call.memory()) + bytes_ +
                         (line * steps.pixels + first) * steps.channels);
            }
        });
    }
    ByteRange range_;

private:
    static constexpr size_t at_once = 512;  // pixels, few enough to stay in a second cache, channel by channel
    PixelLines lines_;
    size_t bytes_;
};

class Quantize final : public FloatsAndPixels {
public:
    using FloatsAndPixels::FloatsAndPixels;
    void run(const Call& call) const override {
        for_parts(call, [&](const float* x, const PixelSteps& steps, uint8_t* y) {
            call.kernels.bytes->quantize(x, steps, range_, y);
        });
    }
};

class Dequantize final : public FloatsAndPixels {
public:
    using FloatsAndPixels::FloatsAndPixels;
    void run(const Call& call) const override {
        for_parts(call, [&](float* y, const PixelSteps& steps, const uint8_t* x) {
            call.kernels.bytes->dequantize(x, range_, y, steps);
        });
    }
};

// Bytes that become those of a table, or stay what they are.
using Table = std::optional<std::array<uint8_t, 256>>;

// What each byte of x is as a byte of y, after the activation if there is one.
Table table_of(const Quantization& x, const Quantization& y, const std::optional<Activation>& activation,
               const KernelSet& kernels) {
    if (x == y && !activation) return std::nullopt;
    constexpr PixelSteps row{0, 1, 1, 256};
    std::array<uint8_t, 256> bytes;
    std::array<float, 256> numbers;
    std::iota(bytes.begin(), bytes.end(), uint8_t{0});
    kernels.bytes->dequantize(bytes.data(), range_of(x), numbers.data(), row);
    if (activation) activation->map(numbers.data(), numbers.size(), activation->a, activation->b);
    kernels.bytes->quantize(numbers.data(), row, range_of(y), bytes.data());
    return bytes;
}

// Each input's channels to theirs of the output.
class LookUp final : public Step {
public:
    LookUp(const Node& node, const Placement& at) : y_(at.y.offset), channels_(at.y.shape[1]) {
        pixels_ = numbers_of(at.y.shape) / channels_;
        const std::optional<Activation> activation =
            node.activation() ? std::optional(activation_of(node, at.kernels)) : std::nullopt;
        for (size_t i = 0; i < at.x.size(); i++)
            parts_.push_back({at.x[i].offset, at.x[i].shape[1],
                              table_of(*node.x_quantization(i), *node.y_quantization(), activation, at.kernels)});
    }

    void run(const Call& call) const override {
        constexpr double nanoseconds = 0.1;
        call.split(pixels_, nanoseconds * static_cast<double>(pixels_ * channels_), [&](size_t i, size_t last, size_t) {
            uint8_t* y = bytes_at(call, y_) + i * channels_;
            for (const Part& part : parts_) {
                look_up(call, part, bytes_at(call, part.x) + i * part.channels, last - i, y);
                y += part.channels;
            }
        });
    }

private:
    struct Part {
        size_t x, channels;
        Table table;
    };

    void look_up(const Call& call, const Part& part, const uint8_t* x, size_t pixels, uint8_t* y) const {
        const bool whole = part.channels == channels_;  // one row, without gaps
        call.kernels.bytes->look_up(part.table ? part.table->data() : nullptr, x, whole ? 1 : pixels,
                                    whole ? pixels * channels_ : part.channels, y, channels_);
    }

    size_t y_, channels_, pixels_;
    std::vector<Part> parts_;
};

void check_quantize(const Node& node) {
    node.require(node.x() == node.y());
    node.require(node.x_type() == Number::f32 && node.y_quantization(), "it is not from f32 to a quantized value");
}

void check_dequantize(const Node& node) {
    node.require(node.x() == node.y());
    node.require(node.x_quantization() && node.y_type() == Number::f32, "it is not from a quantized value to f32");
}

void check_map(const Node& node) {
    check_quantized(node);
    node.require(node.x() == node.y());
}

void check_concat(const Node& node) {
    check_quantized(node);
    uint64_t sum = 0;
    for (size_t i = 0; i < node.inputs(); i++) {
        Shape rest = node.x(i);
        node.require(rest.size() == node.y().size());
        sum += rest[1];
        rest[1] = node.y()[1];
        node.require(rest == node.y() && sum <= largest_value);
    }
    node.require(sum == node.y()[1]);
}

std::unique_ptr<Step> make_look_up(const Node& node, const Placement& at) { return std::make_unique<LookUp>(node, at); }

std::unique_ptr<Step> make_quantize(const Node& node, const Placement& at) {
    return std::make_unique<Quantize>(at.x[0], at.y, range_of(*node.y_quantization()));
}

std::unique_ptr<Step> make_dequantize(const Node& node, const Placement& at) {
    return std::make_unique<Dequantize>(at.y, at.x[0], range_of(*node.x_quantization()));
}

}  // namespace

const std::vector<OperatorType>& quantized_operators() {
    constexpr auto none = Aliasing::none;
    constexpr auto quantized = Takes::quantized;
    constexpr auto pixels = Lies::pixels;
    static const std::vector<OperatorType> types = {
        {"quantize", 1, Has::no, Has::no, {}, quantized, pixels, none, check_quantize, work_of_reading, no_layout,
         make_quantize},
        {"dequantize", 1, Has::no, Has::no, {}, quantized, pixels, none, check_dequantize, work_of_reading, no_layout,
         make_dequantize},
        {"quantized_map", 1, Has::no, Has::yes, {}, quantized, pixels, Aliasing::in_place, check_map, work_of_reading,
         no_layout, make_look_up},
        {"quantized_concat", several, Has::no, Has::no, {}, quantized, pixels, none, check_concat, work_of_reading,
         no_layout, make_look_up},
    };
    return types;
}

}  // namespace sparbor
