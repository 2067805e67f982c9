// All operators that there are, and what they have in common.
#include "kernels/kernels.h"
#include "ops/families.h"

namespace sparbor {

const std::vector<const OperatorType*>& operator_types() {
    static const std::vector<const OperatorType*> all = [] {
        std::vector<const OperatorType*> types;
        for (const auto* family : {&linear_operators(), &convolution_operators(), &normalisation_operators(),
                                   &elementwise_operators(), &typed_operators(), &reduction_operators(),
                                   &scan_operators(), &array_operators(), &indexing_operators(), &update_operators(),
                                   &shape_operators(), &pool_operators(), &resizing_operators(), &matmul_operators(),
                                   &attention_operators(), &recurrent_operators(), &quantized_operators(),
                                   &quantized_arithmetic_operators(),
                                   &quantized_convolution_operators()})
            for (const OperatorType& type : *family) types.push_back(&type);
        return types;
    }();
    return all;
}

const OperatorType* find_operator(const std::string& name) {
    for (const OperatorType* type : operator_types())
        if (name == type->name) return type;
    return nullptr;
}

const std::map<std::string, size_t>& activation_parameters() {
    static const std::map<std::string, size_t> all = [] {
        std::map<std::string, size_t> counts{{"relu", 0}};  // which has no kernel: it is part of how a sum is stored
        for (const NamedMap* each = portable::elementwise.maps; each->name; each++)
            counts[each->name] = each->parameters;
        return counts;
    }();
    return all;
}

size_t Node::axis() const {
    const int64_t axis = settings().whole("axis");
    require(axis >= 0 && axis < static_cast<int64_t>(y().size()), "its axis is none of the output's dimensions");
    return static_cast<size_t>(axis);
}

std::string Node::state(size_t input) const {
    for (const State& each : program_.states)
        if (program_.inputs[each.input].value == operation_.inputs[input]) return program_.inputs[each.input].name;
    return "";
}

std::string Node::name() const {
    const std::string kind = operation_.type->name;
    return operation_.layer_name ? kind + " " + in_quotes(*operation_.layer_name) : kind;
}

void Node::refuse(const std::string& why) const {
    std::string taken;
    for (size_t i = 0; i < inputs(); i++) taken += (i > 0 ? ", " : "") + to_text(x(i));
    throw Refused("operation " + in_quotes(operation_.type->name) + " cannot take shape " + taken + " to " +
                  to_text(y()) + (why.empty() ? "" : ": " + why));
}

}  // namespace sparbor
