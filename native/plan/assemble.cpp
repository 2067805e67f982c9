#include "plan/assemble.h"

#include "plan/buffers.h"
#include "plan/limits.h"

namespace sparbor {
namespace {

std::unique_ptr<Step> step_of(const Operation& operation, const Program& program, const std::vector<Value>& values,
                              const KernelSet& kernels) {
    std::vector<Value> x;
    for (const uint64_t input : operation.inputs) x.push_back(values[input]);
    return operation.type->make({operation, program.shapes}, {kernels, x, values[operation.output]});
}

}  // namespace

std::unique_ptr<Engine> assemble(const Program& program, const KernelSet& kernels, size_t threads) {
    const std::vector<Value> values = plan_buffers(program);
    check_buffers(program, values);
    check_layouts(program);
    check_work(program);
    std::vector<std::unique_ptr<Step>> steps;
    for (const Operation& operation : program.operations)
        if (!is_view(operation, values)) steps.push_back(step_of(operation, program, values, kernels));
    auto engine = std::make_unique<Engine>(kernels, threads, values, program.input, program.output, std::move(steps));
    if (!program.byte_scale.empty()) engine->set_byte_input(program.byte_scale, program.byte_shift);
    check_item(program, engine->workspaces().item_bytes() + engine->workspaces().scratch_bytes());
    return engine;
}

}  // namespace sparbor
