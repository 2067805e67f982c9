// Models with any inputs and outputs, by name.
#include <algorithm>
#include <cstring>
#include <new>

#include "c_api/model.h"

namespace sparbor {

void tell(const char* text, char* error, size_t size) {
    if (!error || size == 0) return;
    const size_t length = std::min(std::strlen(text), size - 1);
    std::memcpy(error, text, length);
    error[length] = '\0';
}

namespace {

constexpr const char* how_to_call =
    "pass each input and output of the model once, as sparbor_input and sparbor_output say";

sparbor_type type_of(Number type) {
    switch (type) {
        case Number::f32: return SPARBOR_F32;
        case Number::u8: return SPARBOR_U8;
        case Number::i8: return SPARBOR_I8;
        case Number::i32: return SPARBOR_I32;
        case Number::i64: return SPARBOR_I64;
        case Number::boolean: return SPARBOR_BOOL;
        case Number::u16: break;  // of tensors alone
    }
    throw std::logic_error("a value is of a type that no value has");
}

sparbor_array describe(const Program& program, const std::vector<Port>& ports, size_t number) {
    if (number >= ports.size()) return {};
    const ValueType& value = program.values[ports[number].value];
    sparbor_array array{ports[number].name.c_str(), type_of(value.type), value.shape.size(), {}, nullptr, 0};
    for (size_t i = 0; i < value.shape.size(); i++)
        array.shape[i] = value.shape[i].is_number() ? value.shape[i].at({0, 0}) : 0;
    return array;
}

template <class Array>
Array& named(Array* arrays, size_t count, const std::string& name) {
    Array* found = nullptr;
    for (size_t i = 0; i < count; i++) {
        if (!arrays[i].name || name != arrays[i].name) continue;
        if (found) throw Refused(in_quotes(name) + " is given twice", how_to_call);
        found = &arrays[i];
    }
    if (!found) throw Refused(in_quotes(name) + " is missing", how_to_call);
    return *found;
}

bool is_state(const Program& program, size_t State::*port, size_t number) {
    return std::any_of(program.states.begin(), program.states.end(),
                       [&](const State& each) { return each.*port == number; });
}

// Puts in the sizes that the array says, of which others may have said some.
void take_sizes(const Program& program, const Port& port, const sparbor_array& array, Sizes& sizes) {
    const ValueType& value = program.values[port.value];
    const std::string name = in_quotes(port.name);
    if (!array.data) throw Refused(name + " is NULL", how_to_call);
    if (array.type != type_of(value.type)) throw Refused(name + " is not " + to_text(value.type), how_to_call);
    bool fits = array.dimensions == value.shape.size();
    for (size_t i = 0; fits && i < value.shape.size(); i++) {
        const int64_t size = value.shape[i].named();
        fits = array.shape[i] > 0 && (size >= 0 || array.shape[i] == value.shape[i].at(sizes));
        if (!fits || size < 0) continue;
        uint64_t& known = sizes[static_cast<size_t>(size)];
        if (known != 0 && known != array.shape[i])
            throw Refused(name + " has " + program.size_names[static_cast<size_t>(size)] + " " +
                              std::to_string(array.shape[i]) + " and another input " + std::to_string(known),
                          "sizes of one name must be equal");
        known = array.shape[i];
    }
    if (!fits) throw Refused(name + " is not of shape " + program.text_of_shape(port.value), how_to_call);
}

// Tells the outputs' shapes. Whether there is room for all; if some have no place at all, how much each needs.
bool tell_outputs(const Program& program, const Plan& plan, bool session, sparbor_array* outputs, size_t count) {
    const bool all = std::all_of(outputs, outputs + count, [](const sparbor_array& each) { return each.data; });
    for (size_t i = 0; i < program.outputs.size(); i++) {
        if (session && is_state(program, &State::output, i)) continue;
        sparbor_array& output = named(outputs, count, program.outputs[i].name);
        const Value& value = plan.outputs[i].value;
        const size_t needed = numbers_of(value.shape) * bytes_of(value.type);
        output.type = type_of(value.type);
        output.dimensions = value.shape.size();
        std::copy(value.shape.begin(), value.shape.end(), output.shape);
        if (!all) output.bytes = needed;
        if (output.bytes < needed)
            throw Refused(in_quotes(program.outputs[i].name) + " has room for " + std::to_string(output.bytes) +
                              " of " + std::to_string(needed) + " bytes",
                          "give it more");
    }
    return all;
}

void run(sparbor_model& model, Session* session, const sparbor_array* inputs, size_t input_count,
         sparbor_array* outputs, size_t output_count) {
    const Program& program = model.program;
    Sizes sizes(program.size_names.size(), 0);
    std::vector<Given> given(program.inputs.size());
    const size_t states = session ? program.states.size() : 0;
    if (input_count != program.inputs.size() - states || output_count != program.outputs.size() - states)
        throw Refused(
            "there are " + std::to_string(input_count) + " inputs and " + std::to_string(output_count) + " outputs",
            how_to_call);
    for (size_t i = 0; i < given.size(); i++) {
        if (session && is_state(program, &State::input, i)) continue;
        const sparbor_array& array = named(inputs, input_count, program.inputs[i].name);
        take_sizes(program, program.inputs[i], array, sizes);
        given[i].data = array.data;
    }
    if (session) session->complete(sizes);
    std::optional<Lease> lease;
    const Plan& plan = session ? session->prepare(sizes) : lease.emplace(model.engine->workspaces(), sizes)->plan();
    if (!tell_outputs(program, plan, session, outputs, output_count)) return;
    std::vector<void*> places(program.outputs.size());
    for (size_t i = 0; i < places.size(); i++)
        if (!session || !is_state(program, &State::output, i))
            places[i] = named(outputs, output_count, program.outputs[i].name).data;
    if (session) session->run(given.data(), places.data());
    else model.engine->run(*lease, given.data(), places.data());
}

}  // namespace
}  // namespace sparbor

size_t sparbor_input_count(const sparbor_model* model) { return model->program.inputs.size(); }
size_t sparbor_output_count(const sparbor_model* model) { return model->program.outputs.size(); }

sparbor_array sparbor_input(const sparbor_model* model, size_t number) {
    return sparbor::describe(model->program, model->program.inputs, number);
}

sparbor_array sparbor_output(const sparbor_model* model, size_t number) {
    return sparbor::describe(model->program, model->program.outputs, number);
}

sparbor_session* sparbor_session_new(sparbor_model* model) {
    return model ? new (std::nothrow) sparbor_session(*model->engine) : nullptr;
}

void sparbor_session_reset(sparbor_session* session) {
    if (session) session->session.reset();
}

void sparbor_session_free(sparbor_session* session) { delete session; }

sparbor_status sparbor_run_arrays(sparbor_model* model, sparbor_session* session, const sparbor_array* inputs,
                                  size_t input_count, sparbor_array* outputs, size_t output_count, char* error,
                                  size_t error_size) {
    if (!model || !inputs || !outputs) return SPARBOR_BAD_ARGUMENT;
    try {
        if (session && &session->session.engine() != model->engine.get())
            throw sparbor::Refused("the session is of another model", "make one of this model");
        sparbor::run(*model, session ? &session->session : nullptr, inputs, input_count, outputs, output_count);
        return SPARBOR_OK;
    } catch (const std::bad_alloc&) {
        sparbor::tell("there is not enough memory: pass fewer items at once", error, error_size);
        return SPARBOR_OUT_OF_MEMORY;
    } catch (const std::exception& reason) {
        sparbor::tell(reason.what(), error, error_size);
    } catch (...) {
        sparbor::tell("unknown error", error, error_size);
    }
    return SPARBOR_BAD_ARGUMENT;
}
