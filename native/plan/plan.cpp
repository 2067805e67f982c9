#include "plan/plan.h"

#include <limits>
#include <map>
#include <set>

#include "plan/copy_step.h"

namespace sparbor {
namespace {

constexpr size_t no_operation = std::numeric_limits<size_t>::max();

// Something to do, in order: an operation, or without one a copy of its input. Values are places in `Draft::values`.
struct Action {
    size_t operation;
    std::vector<size_t> x;
    size_t y;
};

// A value of the plan, in the storage of the value `root`; its offset is within that until the storage has a place.
struct Drafted {
    Value value;
    size_t root;
};

Lies lies_of(const Operation& operation) {
    if (operation.type->lies != Lies::by_axis) return operation.type->lies;
    return operation.settings.whole("axis") == 1 ? Lies::planes : Lies::rows;
}

// What is to be done, before anything has a place.
class Draft {
public:
    Draft(const Program& program, const std::vector<Shape>& shapes) : program_(program), shapes_(shapes) {
        find_wishes();
        places_.resize(program.values.size());
        for (const Port& input : program.inputs) places_[input.value] = add_wished(input.value);
        for (size_t i = 0; i < program.operations.size(); i++) add_operation(i);
    }

    std::vector<Drafted> values;
    std::vector<Action> actions;
    size_t place(uint64_t value) const { return places_[value]; }

private:
    // How the first operation that minds wants each value to lie: one that takes its input as it comes, and does not
    // look at it in another shape, passes on what its output's readers want. Where nobody minds, planes have the least
    // padding.
    void find_wishes() {
        wishes_.assign(program_.values.size(), Lies::as_it_comes);
        for (size_t i = program_.operations.size(); i-- > 0;) {
            const Operation& operation = program_.operations[i];
            if (operation.type->view) continue;
            const Lies lies = lies_of(operation);
            for (const uint64_t input : operation.inputs)
                wishes_[input] = lies == Lies::as_it_comes ? wishes_[operation.output] : wanted_by(lies);
        }
        if (!program_.byte_scale.empty()) wishes_[program_.inputs[0].value] = Lies::planes;  // a scale for each
    }

    size_t add(Value value, std::optional<size_t> root = std::nullopt) {
        values.push_back({std::move(value), root.value_or(values.size())});
        return values.size() - 1;
    }

    size_t add_wished(uint64_t value) {
        return add(laid_out(program_.values[value].type, shapes_[value], wishes_[value]));
    }

    void add_operation(size_t number) {
        const Operation& operation = program_.operations[number];
        const OperatorType& type = *operation.type;
        if (type.view && add_view(operation)) return;
        const Lies lies = lies_of(operation);
        Action action{number, {}, 0};
        for (const uint64_t input : operation.inputs) action.x.push_back(lying(places_[input], lies));
        Value y = laid_out(program_.values[operation.output].type, shapes_[operation.output],
                           lies == Lies::as_it_comes ? wishes_[operation.output] : lies);
        if (lies == Lies::as_it_comes) y = like_an_input(action, std::move(y));
        action.y = places_[operation.output] = add(std::move(y));
        actions.push_back(std::move(action));
    }

    // Laid out as the first input of its type and shape is that is laid out at all, or as it was. By strides of its own:
    // a view's may be any where a size is 1.
    Value like_an_input(const Action& action, Value y) const {
        for (const size_t x : action.x) {
            if (values[x].value.type != y.type) continue;
            for (const Lies way : {Lies::rows, Lies::planes})
                if (Value like = laid_out(y.type, y.shape, way); lie_alike(values[x].value, like)) return like;
        }
        return y;
    }

    bool add_view(const Operation& operation) {
        const Drafted& x = values[places_[operation.inputs[0]]];
        std::optional<Value> view = operation.type->view({operation, program_, shapes_}, x.value);
        if (view) places_[operation.output] = add(std::move(*view), x.root);
        return view.has_value();
    }

    // The value, or a copy of it that lies as it should.
    size_t lying(size_t place, Lies lies) {
        if (is_readable(values[place].value, lies)) return place;
        const auto [found, is_new] = copies_.try_emplace({place, wanted_by(lies)}, values.size());
        if (is_new) {
            add(laid_out(values[place].value.type, values[place].value.shape, wanted_by(lies)));
            actions.push_back({no_operation, {place}, found->second});
        }
        return found->second;
    }

    const Program& program_;
    const std::vector<Shape>& shapes_;
    std::vector<Lies> wishes_;
    std::vector<size_t> places_;
    std::map<std::pair<size_t, Lies>, size_t> copies_;
};

// Gives each storage a place: one is free again once what lies in it has been read for the last time.
class Storages {
public:
    Storages(const Program& program, Draft& draft) : program_(program), draft_(draft), last_(draft.values.size()) {
        find_last_uses();
        assign();
        place();
    }
    size_t bytes() const { return bytes_; }

private:
    static constexpr size_t never = 0;  // uses are counted from 1
    static constexpr size_t more_than_there_is = size_t{1} << 60;

    void find_last_uses() {
        for (size_t i = 0; i < draft_.actions.size(); i++)
            for (const size_t x : draft_.actions[i].x) last_[root(x)] = i + 1;
        for (const Port& output : program_.outputs) last_[root(draft_.place(output.value))] = draft_.actions.size() + 1;
    }

    size_t root(size_t value) const { return draft_.values[value].root; }

    void assign() {
        buffers_.resize(draft_.values.size());
        for (const Port& input : program_.inputs) take(draft_.place(input.value), sizes_.size());
        for (size_t i = 0; i < draft_.actions.size(); i++) assign_output(draft_.actions[i], i + 1);
    }

    void assign_output(const Action& action, size_t now) {
        std::set<size_t> ended;
        std::optional<size_t> taken_over;
        for (const size_t x : action.x) {
            if (last_[root(x)] != now) continue;
            ended.insert(buffers_[root(x)]);
            if (!taken_over && may_take_over(action, x)) taken_over = buffers_[root(x)];
        }
        if (taken_over) ended.erase(*taken_over);
        size_t buffer = taken_over.value_or(sizes_.size());
        if (!taken_over && !free_.empty()) {
            buffer = free_.back();
            free_.pop_back();
        }
        take(action.y, buffer);
        free_.insert(free_.end(), ended.begin(), ended.end());
        if (last_[action.y] == never) free_.push_back(buffer);
    }

    // Whether the output may lie where this input does, which nothing else reads any more, nor the operation itself in
    // another order.
    bool may_take_over(const Action& action, size_t x) const {
        if (action.operation == no_operation || draft_.values[x].value.offset != 0) return false;
        for (const size_t other : action.x)
            if (other != x && root(other) == root(x)) return false;
        const Value &from = draft_.values[x].value, &to = draft_.values[action.y].value;
        return program_.operations[action.operation].type->aliasing == Aliasing::in_place && lie_alike(from, to) &&
               from.type == to.type;
    }

    void take(size_t value, size_t buffer) {
        if (buffer == sizes_.size()) sizes_.push_back(0);
        sizes_[buffer] = std::max(sizes_[buffer], bytes_of(draft_.values[value].value));
        buffers_[value] = buffer;
    }

    void place() {
        std::vector<size_t> begins;
        for (const size_t size : sizes_) {
            begins.push_back(bytes_);
            bytes_ = std::min(bytes_ + size, more_than_there_is);
        }
        for (Drafted& each : draft_.values) {
            each.value.shifted = each.value.offset != 0;
            each.value.offset += begins[buffers_[each.root]];
        }
    }

    const Program& program_;
    Draft& draft_;
    std::vector<size_t> last_, buffers_, sizes_, free_;
    size_t bytes_ = 0;
};

std::vector<PortCopy> copies(const Program& program, const std::vector<Port>& ports, const Draft& draft, bool in) {
    std::vector<PortCopy> made;
    for (const Port& port : ports) {
        const Value& value = draft.values[draft.place(port.value)].value;
        const Value outside = without_gaps(program.values[port.value].type, value.shape);
        made.push_back({value, in ? StridedCopy(outside, value) : StridedCopy(value, outside)});
    }
    return made;
}

}  // namespace

std::unique_ptr<Plan> make_plan(const Program& program, const KernelSet& kernels, const Sizes& sizes,
                                std::vector<LaidOut>& layers, bool as_stored) {
    const std::vector<Shape> shapes = program.shapes_at(sizes);
    check_operations(program, shapes);
    Draft draft(program, shapes);
    const Storages storages(program, draft);
    auto plan = std::make_unique<Plan>();
    plan->sizes = sizes;
    plan->bytes = storages.bytes();
    plan->scratch_floats = 0;
    plan->inputs = copies(program, program.inputs, draft, true);
    plan->outputs = copies(program, program.outputs, draft, false);
    for (const Action& action : draft.actions) {
        std::vector<Value> x;
        for (const size_t each : action.x) x.push_back(draft.values[each].value);
        const Value& y = draft.values[action.y].value;
        if (action.operation == no_operation) {
            plan->steps.push_back(std::make_unique<CopyStep>(std::vector{x[0]}, std::vector{y}));
            continue;
        }
        const Operation& operation = program.operations[action.operation];
        plan->steps.push_back(
            operation.type->make({operation, program, shapes}, {kernels, x, y, layers[action.operation], as_stored}));
        if (operation.layer_name) plan->ways.emplace(*operation.layer_name, plan->steps.back()->way());
    }
    for (const auto& step : plan->steps) plan->scratch_floats = std::max(plan->scratch_floats, step->scratch_floats());
    return plan;
}

}  // namespace sparbor
