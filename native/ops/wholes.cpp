// Arithmetic of whole numbers. They wrap around, as NumPy's and PyTorch's do; a division by 0 refuses the call.
#include "ops/typed_elementwise.h"
#include "ops/typed_runs.h"

namespace sparbor {
namespace {

template <class N>
N wrapped(std::make_unsigned_t<N> number) {
    return static_cast<N>(number);
}
template <class N>
std::make_unsigned_t<N> plain(N number) {
    return static_cast<std::make_unsigned_t<N>>(number);
}

struct Add {
    template <class N> static N of(N left, N right) { return wrapped<N>(plain(left) + plain(right)); }
};
struct Subtract {
    template <class N> static N of(N left, N right) { return wrapped<N>(plain(left) - plain(right)); }
};
struct Multiply {
    template <class N> static N of(N left, N right) { return wrapped<N>(plain(left) * plain(right)); }
};
struct Minimum {
    template <class N> static N of(N left, N right) { return right < left ? right : left; }
};
struct Maximum {
    template <class N> static N of(N left, N right) { return right > left ? right : left; }
};
// Of the divisor's sign, as Python's. The processor faults where it divides the least number by -1.
struct Remainder {
    template <class N> static N of(N left, N right) {
        if (right == -1) return 0;
        const N rest = static_cast<N>(left % right);
        return rest != 0 && (rest < 0) != (right < 0) ? static_cast<N>(rest + right) : rest;
    }
};
struct FloorDivide {
    template <class N> static N of(N left, N right) {
        if (right == -1) return wrapped<N>(0 - plain(left));
        return static_cast<N>(left / right - (left % right != 0 && (left < 0) != (right < 0)));
    }
};
// Of a negative exponent 0, but of 1 and -1.
struct Power {
    template <class N> static N of(N base, N exponent) {
        if (exponent < 0) return base == 1 || (base == -1 && exponent % 2 == 0) ? 1 : base == -1 ? -1 : 0;
        std::make_unsigned_t<N> result = 1, factor = plain(base);
        for (auto left = plain(exponent); left > 0; left >>= 1, factor *= factor)
            if (left & 1) result *= factor;
        return wrapped<N>(result);
    }
};

template <class N>
TypedRun find(const std::string& name) {
    if (name == "add") return run_two<Add, N, N>;
    if (name == "subtract") return run_two<Subtract, N, N>;
    if (name == "multiply") return run_two<Multiply, N, N>;
    if (name == "minimum") return run_two<Minimum, N, N>;
    if (name == "maximum") return run_two<Maximum, N, N>;
    if (name == "remainder") return run_two<Remainder, N, N>;
    if (name == "floor_divide") return run_two<FloorDivide, N, N>;
    if (name == "power") return run_two<Power, N, N>;
    throw std::logic_error("no operator of two whole numbers named " + name);
}

// Looks for zeros among the divisors before anything is divided.
class DividingStep final : public Step {
public:
    DividingStep(const std::string& name, const Placement& at, TypedRun run)
        : name_(name), divisor_(at.x[1]), loops_(divisor_.shape, {divisor_.strides}), step_(at.x, at.y, run) {}

    void run(const Call& call) const override {
        const bool is_long = divisor_.type == Number::i64;
        for (size_t i = 0; i < loops_.count(); i++) {
            const char* const begin = call.memory() + divisor_.offset + loops_.run(i)[0] * bytes_of(divisor_.type);
            if (is_long ? has_zero<int64_t>(begin) : has_zero<int32_t>(begin))
                throw Refused("operation " + in_quotes(name_) + " divides a whole number by 0",
                              "pass inputs that make no divisor 0");
        }
        step_.run(call);
    }

private:
    template <class N>
    bool has_zero(const char* begin) const {
        const N* const numbers = reinterpret_cast<const N*>(begin);
        bool found = false;
        for (size_t i = 0; i < loops_.length(); i++) found |= numbers[i * loops_.steps()[0]] == 0;
        return found;
    }

    std::string name_;
    Value divisor_;
    Loops loops_;
    TypedStep step_;
};

}  // namespace

std::unique_ptr<Step> make_pair_of_wholes(const std::string& name, const Node& node, const Placement& at) {
    const TypedRun run = node.y_type() == Number::i64 ? find<int64_t>(name) : find<int32_t>(name);
    if (name == "floor_divide" || name == "remainder") return std::make_unique<DividingStep>(name, at, run);
    return std::make_unique<TypedStep>(at.x, at.y, run);
}

}  // namespace sparbor
