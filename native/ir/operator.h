// What the engine knows of all operations of a kind. Each family of them, a file under ops/, has a table of such rows;
// a new kind is a new row.
#pragma once

#include <memory>

#include "ir/program.h"

namespace sparbor {

struct KernelSet;
struct Step;
struct Value;

// An operation with its shapes, as the functions of its kind see it.
class Node {
public:
    Node(const Operation& operation, const std::vector<Shape>& shapes) : operation_(operation), shapes_(shapes) {}

    const Shape& x(size_t input = 0) const { return shapes_[operation_.inputs[input]]; }
    size_t inputs() const { return operation_.inputs.size(); }
    const Shape& y() const { return shapes_[operation_.output]; }
    const Layer* layer() const { return operation_.layer; }  // null if it has none
    const Settings& settings() const { return operation_.settings; }
    const std::optional<NamedActivation>& activation() const { return operation_.activation; }

    // Throws that the operation cannot take its inputs' shapes to its output's, and why.
    [[noreturn]] void refuse(const std::string& why = "") const;
    void require(bool holds, const char* why = "") const {
        if (!holds) refuse(why);
    }

private:
    const Operation& operation_;
    const std::vector<Shape>& shapes_;
};

// Where an operation's values lie, and what computes it.
struct Placement {
    const KernelSet& kernels;
    const std::vector<Value>& x;
    const Value& y;
};

// What a step takes to be made of an operation, beside its layer's own bytes.
struct Layout {
    uint64_t bytes;     // that it is laid out in
    uint64_t compared;  // pairs of its kernel's taps
};

// Whether operations of a kind have something.
enum class Has { no, maybe, yes };

// Whether an operation may write where it reads: never; because it computes each number, or each row, from that place
// alone; or if its output lies exactly as its input does, so that there is nothing to compute.
enum class Aliasing { none, in_place, view };

struct OperatorType {
    const char* name;
    size_t inputs;  // 0: any number from 1
    Has layer;
    Has activation;
    std::vector<SettingRule> settings;
    Aliasing aliasing;
    // Throws Refused unless shapes, settings and layer fit each other.
    void (*check)(const Node&);
    // Multiply-adds of one item, or numbers read or written, whichever are more; a double, which cannot overflow.
    double (*work)(const Node&);
    Layout (*layout)(const Node&);
    std::unique_ptr<Step> (*make)(const Node&, const Placement&);
};

// All kinds that there are.
const std::vector<const OperatorType*>& operator_types();
// The kind of that name, or null.
const OperatorType* find_operator(const std::string& name);

// The activations: their names, and how many parameters each has.
const std::map<std::string, size_t>& activation_parameters();

}  // namespace sparbor
