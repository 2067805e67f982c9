#include "plan/plan.h"

#include <limits>
#include <map>
#include <set>

#include "encodings/encoding.h"
#include "plan/copy_step.h"
#include "plan/limits.h"

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
        for (const State& state : program.states) next_.push_back(next_of(state));
    }

    std::vector<Drafted> values;
    std::vector<Action> actions;
    size_t place(uint64_t value) const { return places_[value]; }
    // Of a state as the call begins, and as it ends.
    size_t now(size_t state) const { return places_[program_.inputs[program_.states[state].input].value]; }
    size_t next(size_t state) const { return next_[state]; }

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

    // Quantized values lie as pixels, whatever the operation or the wish.
    Value laid(uint64_t value, Lies lies) const {
        const ValueType& type = program_.values[value];
        return laid_out(type.type, shapes_[value], type.quantization ? Lies::pixels : lies);
    }

    size_t add_wished(uint64_t value) { return add(laid(value, wishes_[value])); }

    void add_operation(size_t number) {
        const Operation& operation = program_.operations[number];
        const OperatorType& type = *operation.type;
        if (type.view && add_view(operation)) return;
        const Lies lies = lies_of(operation);
        Action action{number, {}, 0};
        for (const uint64_t input : operation.inputs) action.x.push_back(lying(places_[input], lies));
        const bool as_wished = lies == Lies::as_it_comes || lies == Lies::pixels;
        Value y = laid(operation.output, as_wished ? wishes_[operation.output] : lies);
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

    // What is nothing but another state, or another look at one, is copied while that is still what it was.
    size_t next_of(const State& state) {
        const uint64_t input = program_.inputs[state.input].value;
        const size_t place = places_[program_.outputs[state.output].value];
        if (place == places_[input]) return place;
        const auto is_root = [&](const State& each) {
            return values[place].root == places_[program_.inputs[each.input].value];
        };
        if (std::none_of(program_.states.begin(), program_.states.end(), is_root)) return place;
        const size_t copy = add_wished(input);
        actions.push_back({no_operation, {place}, copy});
        return copy;
    }

    const Program& program_;
    const std::vector<Shape>& shapes_;
    std::vector<Lies> wishes_;
    std::vector<size_t> places_, next_;
    std::map<std::pair<size_t, Lies>, size_t> copies_;
};

// Gives each storage a place: one is free again once what lies in it has been read for the last time. Those of states
// come first and hold nothing else, so that a session can leave them where they are; what a state becomes is computed
// where it lies if it can be.
class Storages {
public:
    Storages(const Program& program, Draft& draft) : program_(program), draft_(draft), last_(draft.values.size()) {
        find_last_uses();
        find_heirs();
        assign();
        place();
    }
    size_t bytes() const { return bytes_; }
    size_t state_bytes() const { return state_bytes_; }
    size_t first_overwriting() const { return first_overwriting_; }

private:
    static constexpr size_t never = 0;  // uses are counted from 1
    static constexpr size_t more_than_there_is = size_t{1} << 60;
    static constexpr size_t no_state = std::numeric_limits<size_t>::max();

    void find_last_uses() {
        for (size_t i = 0; i < draft_.actions.size(); i++)
            for (const size_t x : draft_.actions[i].x) last_[root(x)] = i + 1;
        for (const Port& output : program_.outputs) last_[root(draft_.place(output.value))] = draft_.actions.size() + 1;
        for (size_t i = 0; i < program_.states.size(); i++) last_[root(draft_.next(i))] = draft_.actions.size() + 1;
    }

    // Which values may lie where a state does: those that become what it is next, in place.
    void find_heirs() {
        heirs_.assign(draft_.values.size(), no_state);
        for (size_t i = 0; i < program_.states.size(); i++) {
            const Value &now = draft_.values[draft_.now(i)].value, &next = draft_.values[draft_.next(i)].value;
            if (next.offset == 0 && lie_alike(now, next)) heirs_[root(draft_.next(i))] = i;
        }
        for (size_t i = draft_.actions.size(); i-- > 0;) {
            const Action& action = draft_.actions[i];
            if (heirs_[action.y] == no_state) continue;
            for (const size_t x : action.x)
                if (last_[root(x)] == i + 1 && may_take_over(action, x)) heirs_[root(x)] = heirs_[action.y];
        }
    }

    size_t root(size_t value) const { return draft_.values[value].root; }

    void assign() {
        buffers_.resize(draft_.values.size());
        for (size_t i = 0; i < program_.states.size(); i++) take(draft_.now(i), i);
        for (const Port& input : program_.inputs)
            if (!is_state(draft_.place(input.value))) take(draft_.place(input.value), sizes_.size());
        for (size_t i = 0; i < draft_.actions.size(); i++) assign_output(draft_.actions[i], i + 1);
    }

    void assign_output(const Action& action, size_t now) {
        std::set<size_t> ended;
        std::optional<size_t> taken_over;
        for (const size_t x : action.x) {
            if (last_[root(x)] != now) continue;
            const size_t buffer = buffers_[root(x)];
            if (!holds_state(buffer)) ended.insert(buffer);
            else if (!may_become(action.y, buffer)) continue;
            if (!taken_over && may_take_over(action, x)) taken_over = buffer;
        }
        if (taken_over) ended.erase(*taken_over);
        size_t buffer = taken_over.value_or(sizes_.size());
        if (!taken_over && !free_.empty()) {
            buffer = free_.back();
            free_.pop_back();
        }
        take(action.y, buffer);
        free_.insert(free_.end(), ended.begin(), ended.end());
        if (holds_state(buffer)) first_overwriting_ = std::min(first_overwriting_, now - 1);
        else if (last_[action.y] == never) free_.push_back(buffer);
    }

    bool is_state(size_t value) const {
        for (size_t i = 0; i < program_.states.size(); i++)
            if (draft_.now(i) == value) return true;
        return false;
    }

    // The first buffers are those of the states, in order.
    bool holds_state(size_t buffer) const { return buffer < program_.states.size(); }

    bool may_become(size_t value, size_t state) const {
        return heirs_[value] == state && bytes_of(draft_.values[value].value) <= sizes_[state];
    }

    // Whether the output may lie where this input does, which nothing else reads any more, nor the operation itself in
    // another order.
    bool may_take_over(const Action& action, size_t x) const {
        if (action.operation == no_operation || draft_.values[x].value.offset != 0) return false;
        for (const size_t other : action.x)
            if (other != x && root(other) == root(x)) return false;
        const Value &from = draft_.values[x].value, &to = draft_.values[action.y].value;
        if (!lie_alike(from, to) || from.type != to.type) return false;
        switch (program_.operations[action.operation].type->aliasing) {
            case Aliasing::none: return false;
            case Aliasing::in_place: return true;
            case Aliasing::in_first: return x == action.x[0];
        }
        return false;  // there is no other, which the compiler does not know
    }

    void take(size_t value, size_t buffer) {
        if (buffer == sizes_.size()) sizes_.push_back(0);
        sizes_[buffer] = std::max(sizes_[buffer], bytes_of(draft_.values[value].value));
        buffers_[value] = buffer;
    }

    void place() {
        std::vector<size_t> begins;
        for (const size_t size : sizes_) {
            if (begins.size() == program_.states.size()) state_bytes_ = bytes_;
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
    std::vector<size_t> last_, heirs_, buffers_, sizes_, free_;
    size_t bytes_ = 0, state_bytes_ = 0, first_overwriting_ = std::numeric_limits<size_t>::max();
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

std::vector<StateCopy> state_copies(const Program& program, const Draft& draft) {
    std::vector<StateCopy> made;
    for (size_t i = 0; i < program.states.size(); i++) {
        const Value &now = draft.values[draft.now(i)].value, &next = draft.values[draft.next(i)].value;
        made.push_back({now, next, next.offset == now.offset && lie_alike(next, now), {next, now}});
    }
    return made;
}

std::vector<Shape> checked_shapes(const Program& program, const Sizes& sizes) {
    std::vector<Shape> shapes = program.shapes_at(sizes);
    check_operations(program, shapes);
    return shapes;
}

// What plans of one program have in common, and what is made of it for some sizes.
class Planner {
public:
    Planner(const Program& program, const KernelSet& kernels, std::vector<LaidOut>& layers, const Planning& planning)
        : program_(program), kernels_(kernels), layers_(layers), planning_(planning) {}

    std::unique_ptr<Plan> plan(const Sizes& sizes) const { return plan(sizes, planning_.items); }

private:
    std::unique_ptr<Plan> plan(const Sizes& sizes, const std::optional<size_t>& items) const {
        Sketch sketch(program_, sizes);
        auto plan = begin(sketch, sizes);
        const size_t slices = items ? worth_slices(sizes[*items], call_bytes(sketch, *items), planning_.threads) : 1;
        if (slices > 1) add_slices(*plan, *items, slices);
        else add_steps(*plan, sketch);
        return plan;
    }

    struct Sketch {
        Sketch(const Program& program, const Sizes& sizes)
            : shapes(checked_shapes(program, sizes)), draft(program, shapes), storages(program, draft) {}
        std::vector<Shape> shapes;
        Draft draft;
        Storages storages;
    };

    std::unique_ptr<Plan> begin(const Sketch& sketch, const Sizes& sizes) const {
        auto plan = std::make_unique<Plan>();
        plan->sizes = sizes;
        plan->work = work_of(program_, sketch.shapes);
        plan->state_bytes = sketch.storages.state_bytes();
        plan->first_overwriting = sketch.storages.first_overwriting();
        plan->bytes = sketch.storages.bytes();
        plan->scratch_floats = 0;
        plan->inputs = copies(program_, program_.inputs, sketch.draft, true);
        plan->outputs = copies(program_, program_.outputs, sketch.draft, false);
        plan->states = state_copies(program_, sketch.draft);
        return plan;
    }

    void add_steps(Plan& plan, const Sketch& sketch) const {
        for (const Action& action : sketch.draft.actions) {
            std::vector<Value> x;
            for (const size_t each : action.x) x.push_back(sketch.draft.values[each].value);
            const Value& y = sketch.draft.values[action.y].value;
            if (action.operation == no_operation) {
                plan.steps.push_back(std::make_unique<CopyStep>(std::vector{x[0]}, std::vector{y}));
                continue;
            }
            const Operation& operation = program_.operations[action.operation];
            const Placement at{kernels_, x, y, layers_[action.operation], planning_.as_stored};
            plan.steps.push_back(operation.type->make({operation, program_, sketch.shapes}, at));
            if (plan.steps.size() > 1) plan.steps.back()->comes_after(**(plan.steps.end() - 2));
            if (operation.layer_name) plan.ways.emplace(*operation.layer_name, plan.steps.back()->way());
        }
        plan.takes_given = is_read_once(sketch.draft) && plan.steps[0]->takes_given();
        for (const auto& step : plan.steps) plan.scratch_floats = std::max(plan.scratch_floats, step->scratch_floats());
    }

    // Whether the program has one input, which the first step reads and nothing else does.
    bool is_read_once(const Draft& draft) const {
        if (program_.inputs.size() != 1 || !program_.states.empty() || draft.actions.empty()) return false;
        const size_t input = draft.place(program_.inputs[0].value);
        const auto reads = [&](size_t place) { return draft.values[place].root == draft.values[input].root; };
        const auto is_given = [&](const Port& port) { return reads(draft.place(port.value)); };
        const auto uses = [&](const Action& action) { return std::any_of(action.x.begin(), action.x.end(), reads); };
        return draft.actions[0].x == std::vector{input} &&
               std::none_of(draft.actions.begin() + 1, draft.actions.end(), uses) &&
               std::none_of(program_.outputs.begin(), program_.outputs.end(), is_given);
    }

    // Tables are looked up, not read; what all items share is computed again for each slice.
    CallBytes call_bytes(const Sketch& sketch, size_t items) const {
        CallBytes bytes{sketch.storages.bytes(), 0, 0};
        for (const auto& [name, layer] : program_.layers)
            if (!is(layer, LayerKind::table) && !is(layer, LayerKind::array)) bytes.shared += layer.bytes();
        for (const Action& action : sketch.draft.actions) {
            if (action.operation == no_operation) continue;
            const ValueType& y = program_.values[program_.operations[action.operation].output];
            (has_items(y, items) ? bytes.altogether : bytes.shared) += bytes_of(sketch.draft.values[action.y].value);
        }
        return bytes;
    }

    void add_slices(Plan& plan, size_t items, size_t count) const {
        auto slices = std::make_unique<Slices>(Slices{plan.sizes[items], count, {}, {}, {}});
        Sizes sizes = plan.sizes;
        for (size_t more = 0; more <= (slices->items % count > 0); more++) {
            sizes[items] = slices->items / count + more;
            slices->plans.push_back(this->plan(sizes, std::nullopt));
        }
        const auto steps = [&](const std::vector<Port>& ports, const std::vector<PortCopy>& copies) {
            std::vector<size_t> result;
            for (size_t i = 0; i < ports.size(); i++)
                result.push_back(has_items(program_.values[ports[i].value], items)
                                     ? numbers_of(copies[i].value.shape) / slices->items : 0);
            return result;
        };
        slices->input_steps = steps(program_.inputs, plan.inputs);
        slices->output_steps = steps(program_.outputs, plan.outputs);
        plan.bytes = plan.scratch_floats = 0;
        for (const auto& each : slices->plans) {
            plan.bytes = std::max(plan.bytes, each->bytes);
            plan.scratch_floats = std::max(plan.scratch_floats, each->scratch_floats);
        }
        plan.ways = slices->plans[0]->ways;
        for (const PortCopy& port : plan.outputs) plan.bytes_aside += bytes_outside(port);
        plan.slices = std::move(slices);
    }

    const Program& program_;
    const KernelSet& kernels_;
    std::vector<LaidOut>& layers_;
    const Planning& planning_;
};

}  // namespace

std::unique_ptr<Plan> make_plan(const Program& program, const KernelSet& kernels, const Sizes& sizes,
                                std::vector<LaidOut>& layers, const Planning& planning) {
    return Planner(program, kernels, layers, planning).plan(sizes);
}

}  // namespace sparbor
