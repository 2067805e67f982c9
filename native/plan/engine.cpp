#include "plan/engine.h"

#include "plan/limits.h"
#include "plan/sliced_call.h"

namespace sparbor {

Engine::Engine(const Program& program, const KernelSet& kernels, size_t threads, bool as_stored, Threads whose)
    : program_(program), kernels_(kernels), planning_{as_stored, threads, find_items(program)},
      layers_(program.operations.size()), workspaces_(threads, [this](const Sizes& sizes) { return plan_for(sizes); }) {
    const std::vector<Shape> shapes = program.shapes_at(program.known_sizes);
    check_layouts(program, shapes);
    check_work(program, shapes);
    auto plan = plan_for(program.known_sizes);
    item_bytes_ = plan->bytes;
    check_memory(program, item_bytes_);
    check_memory(program, item_bytes_ + workspaces_.scratch_bytes(*plan));
    workspaces_.keep(std::move(plan));
    if (threads > 1 && whose == Threads::own) pool_ = std::make_unique<ThreadPool>(threads);
}

void Engine::copy_bytes(const Matrix& to, const uint8_t* bytes, char* memory) const {
    float* const rows = reinterpret_cast<float*>(memory) + to.offset;
    for (size_t row = 0; row < to.rows; row++) {
        const size_t channel = program_.byte_scale.size() == 1 ? 0 : row % to.item_rows;
        kernels_.elementwise->from_bytes(bytes + row * to.columns, program_.byte_scale[channel],
                                         program_.byte_shift[channel], rows + row * to.stride, to.columns);
    }
}

void Engine::copy_in(const PortCopy& input, const Given& given, char* memory) const {
    if (given.bytes) copy_bytes(planes_of(input.value), static_cast<const uint8_t*>(given.data), memory);
    else input.copy.run(kernels_, given.data, memory + input.value.offset);
}

const void* Engine::left_there(const Plan& plan, const Given* inputs) {
    return plan.takes_given && !inputs[0].bytes ? inputs[0].data : nullptr;
}

void Engine::run(const Workspace& workspace, const Given* inputs, void* const* outputs, size_t& steps,
                 Workers* callers) const {
    Workers* const workers = callers ? callers : pool_.get();
    if (workspace.plan().slices) return run_slices(workspace, inputs, outputs, workers);
    const Call call(kernels_, workers, workspace.memory(), workspace.scratch(), workspace.thread_scratch(),
                    left_there(workspace.plan(), inputs));
    run_steps(workspace.plan(), call, inputs, outputs, steps);
}

void Engine::run_steps(const Plan& plan, const Call& call, const Given* inputs, void* const* outputs,
                       size_t& steps) const {
    for (size_t i = 0; i < plan.inputs.size() && !call.given(); i++)
        if (inputs[i].data) copy_in(plan.inputs[i], inputs[i], call.memory());
    for (steps = 0; steps < plan.steps.size(); steps++) plan.steps[steps]->run(call);
    for (size_t i = 0; i < plan.outputs.size(); i++)
        if (outputs[i]) plan.outputs[i].copy.run(kernels_, call.memory() + plan.outputs[i].value.offset, outputs[i]);
}

void Engine::run_slices(const Workspace& workspace, const Given* inputs, void* const* outputs, Workers* workers) const {
    const Slices& slices = *workspace.plan().slices;
    SlicedCall sliced(workspace.plan(), inputs);
    for (size_t slice = 0; slice < slices.count; slice++) {
        sliced.go_to(slice);
        const Call call(kernels_, workers, workspace.memory(), workspace.scratch(), workspace.thread_scratch(),
                        left_there(slices.plan(slice), sliced.inputs()), slices.first(slice));
        size_t steps = 0;
        run_steps(slices.plan(slice), call, sliced.inputs(), sliced.outputs(), steps);
    }
    sliced.give(outputs);
}

}  // namespace sparbor
