// What the engine knows of all operations of a kind. Each family of them, a file under ops/, has a table of such rows;
// a new kind is a new row.
#pragma once

#include <memory>

#include "ir/program.h"

namespace sparbor {

struct Step;
struct Placement;  // where an operation's values lie, and what computes it: plan/placement.h
struct Value;      // plan/value.h

// An operation with the shapes that its values have for some sizes, as the functions of its kind see it.
class Node {
public:
    Node(const Operation& operation, const Program& program, const std::vector<Shape>& shapes)
        : operation_(operation), program_(program), shapes_(shapes) {}

    const Shape& x(size_t input = 0) const { return shapes_[operation_.inputs[input]]; }
    Number x_type(size_t input = 0) const { return program_.values[operation_.inputs[input]].type; }
    size_t inputs() const { return operation_.inputs.size(); }
    const Shape& y() const { return shapes_[operation_.output]; }
    Number y_type() const { return program_.values[operation_.output].type; }
    const std::optional<Quantization>& x_quantization(size_t input = 0) const {
        return program_.values[operation_.inputs[input]].quantization;
    }
    const std::optional<Quantization>& y_quantization() const {
        return program_.values[operation_.output].quantization;
    }
    const Layer* layer() const { return operation_.layer; }  // null if it has none
    std::string name() const;                                // its kind, and the name of its layer if it has one
    const Settings& settings() const { return operation_.settings; }
    const std::optional<NamedActivation>& activation() const { return operation_.activation; }
    // The setting of this name as a dimension of the output.
    size_t axis() const;
    // The name of the state that an input is as the call begins; empty if it is none.
    std::string state(size_t input) const;

    // Throws that the operation cannot take its inputs' shapes to its output's, and why.
    [[noreturn]] void refuse(const std::string& why = "") const;
    void require(bool holds, const char* why = "") const {
        if (!holds) refuse(why);
    }

private:
    const Operation& operation_;
    const Program& program_;
    const std::vector<Shape>& shapes_;
};

// What a step takes to be made of an operation, beside its layer's own bytes.
struct LayoutCost {
    uint64_t bytes;     // that it is laid out in
    uint64_t compared;  // pairs of its kernel's taps
};

// Whether operations of a kind have something.
enum class Has { no, maybe, yes };

// The types of numbers that operations of a kind take: floats alone, and their output is floats; or what `check` says,
// either without quantized values or of those too.
enum class Takes { floats, any, quantized };

// How the inputs must lie, and how the output does: as rows, the last dimension's numbers one after another and rows at
// equal distances; as planes, the same of all dimensions after the channels, dimension 1; as planes if the setting
// `axis` is that, else as rows; as it comes, the output like the first input; by any strides, the output as rows; or as
// heads: the inputs with the last dimension's numbers one after another, and the output, (items, heads, tokens,
// features), so that the heads of a token are one row, for whoever looks at it as (items, tokens, heads * features).
//
// Quantized values, inputs and outputs, always lie as pixels: the channels of one after those of the other, without
// gaps, and behind the last one bytes that kernels may read. The other inputs of an operation on pixels may be any
// planes whose pixels or channels lie one after another; its output lies as those want it that read it.
// An operation on rows, planes, heads or pixels computes each item, an index of dimension 0, of its inputs' items of that
// number alone. Any other does too, but along what its settings `axis`, `axes`, `order`, `before` and `after` name. Calls
// are computed some items at a time because of that: plan/slices.h.
enum class Lies { rows, planes, by_axis, as_it_comes, by_strides, heads, pixels };

// Whether an operation may write where it reads: because it computes each number, or each row, from that place alone;
// or where its first input lies, because it leaves the numbers there that it does not replace. Such an operation
// refuses what it is given before it writes anything: where it writes there may be a state, which a session keeps.
enum class Aliasing { none, in_place, in_first };

// How many inputs operations of a kind have.
struct Inputs {
    constexpr Inputs(size_t exactly) : least(exactly), most(exactly) {}
    constexpr Inputs(size_t least, size_t most) : least(least), most(most) {}
    constexpr bool allow(size_t count) const { return least <= count && count <= most; }
    constexpr bool any() const { return most == SIZE_MAX; }  // however many

    size_t least, most;
};
constexpr Inputs several{1, SIZE_MAX};

struct OperatorType {
    const char* name;
    Inputs inputs;
    Has layer;
    Has activation;
    std::vector<SettingRule> settings;
    Takes takes;
    Lies lies;
    Aliasing aliasing;
    // Throws Refused unless shapes, settings and layer fit each other.
    void (*check)(const Node&);
    // Multiply-adds, or numbers read or written, whichever are more; a double, which cannot overflow.
    double (*work)(const Node&);
    LayoutCost (*layout)(const Node&);
    std::unique_ptr<Step> (*make)(const Node&, const Placement&);
    // Of kinds that move no number, else null: the output as another look at where the input lies, if it can be that.
    std::optional<Value> (*view)(const Node&, const Value& x) = nullptr;
};

// All kinds that there are.
const std::vector<const OperatorType*>& operator_types();
// The kind of that name, or null.
const OperatorType* find_operator(const std::string& name);

// The activations: their names, and how many parameters each has.
const std::map<std::string, size_t>& activation_parameters();

}  // namespace sparbor
