// Values of bytes with a step and a zero: numbers that become such bytes, and back.
#include "kernels/bytes.h"
#include "ops/families.h"
#include "ops/outputs.h"
#include "ops/pixel_lines.h"

namespace sparbor {
namespace {

ByteRange range_of(const std::optional<Quantization>& quantization) {
    return {quantization->step, quantization->zero};
}

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
        const double work = 0.15 * static_cast<double>(lines_.lines() * steps.pixels * steps.channels);
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
    static constexpr size_t at_once = 512;  // pixels, which are few enough to stay in a second cache, channel by channel
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

void check_quantize(const Node& node) {
    node.require(node.x() == node.y());
    node.require(node.x_type() == Number::f32 && node.y_quantization(), "it is not from f32 to a quantized value");
}

void check_dequantize(const Node& node) {
    node.require(node.x() == node.y());
    node.require(node.x_quantization() && node.y_type() == Number::f32, "it is not from a quantized value to f32");
}

std::unique_ptr<Step> make_quantize(const Node& node, const Placement& at) {
    return std::make_unique<Quantize>(at.x[0], at.y, range_of(node.y_quantization()));
}

std::unique_ptr<Step> make_dequantize(const Node& node, const Placement& at) {
    return std::make_unique<Dequantize>(at.y, at.x[0], range_of(node.x_quantization()));
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
    };
    return types;
}

}  // namespace sparbor
