// The fuzz target: any bytes are loaded by the engine for C, and a model that loads runs.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "plan/limits.h"
#include "c_api/sparbor.h"
#include "kernels/dispatch.h"
#include "memory_bound.h"
#include "mutator.h"

namespace {

using namespace sparbor::fuzz;

// A model may ask for 256 MiB and 64 times its weights' bytes, for its buffers, its layout and its workspace each;
// parsed, its JSON takes up to so many bytes a character.
size_t allowed(size_t file) { return 3 * ((size_t{256} << 20) + 64 * file) + 256 * file; }

constexpr double most_work = 1 << 24;  // multiply-adds of an item; larger models would only take longer
constexpr size_t largest = 1 << 22;    // numbers of an item's input or output, likewise

// Files that loaded. Most that libFuzzer keeps are refused, and so would be most that are made of them.
std::vector<Bytes>& loaded() {
    static std::vector<Bytes> files;
    return files;
}

void remember(const uint8_t* data, size_t size) {
    constexpr size_t most = 1000;
    static std::minstd_rand random;
    if (loaded().size() < most) loaded().emplace_back(data, data + size);
    else loaded()[random() % most].assign(data, data + size);
}

// Another kernel set for each file, as its bytes have it.
void choose_kernels(const uint8_t* data, size_t size) {
    const auto& sets = sparbor::available_kernel_sets();
    const size_t sum = size == 0 ? 0 : size + data[size - 1];
    setenv("SPARBOR_ISA", sets[sum % sets.size()]->name, 1);
}

// Each named size is 3: the engine refuses those that the operations cannot have, and says so. Whether it has run.
bool run(sparbor_model* model) {
    std::vector<sparbor_array> inputs, outputs;
    std::vector<std::vector<uint8_t>> data;
    for (size_t i = 0; i < sparbor_input_count(model); i++) {
        sparbor_array input = sparbor_input(model, i);
        size_t numbers = 1;
        for (size_t d = 0; d < input.dimensions; d++) {
            input.shape[d] = input.shape[d] == 0 ? 3 : input.shape[d];
            numbers *= input.shape[d];
            if (numbers > largest) return false;
        }
        data.emplace_back(numbers * 8, uint8_t{1});
        input.data = data.back().data();
        inputs.push_back(input);
    }
    for (size_t i = 0; i < sparbor_output_count(model); i++) outputs.push_back(sparbor_output(model, i));
    char error[300] = "";
    const auto call = [&] {
        return sparbor_run_arrays(model, nullptr, inputs.data(), inputs.size(), outputs.data(), outputs.size(), error,
                                  sizeof error);
    };
    if (call() != SPARBOR_OK) {
        if (std::strlen(error) == 0) std::abort();
        return false;
    }
    for (sparbor_array& output : outputs) {
        if (output.bytes > 8 * largest) return false;
        data.emplace_back(output.bytes);
        output.data = data.back().data();
    }
    if (call() != SPARBOR_OK) std::abort();
    if (sparbor_takes_bytes(model) && sparbor_input_size(model) > 0)
        sparbor_run_bytes(model, static_cast<const uint8_t*>(inputs[0].data), static_cast<float*>(outputs[0].data), 3);
    return true;
}

// Two calls of a session, which may refuse what a call of the model did not: a state is zeros and then what it became.
void run_in_session(sparbor_model* model, const sparbor::Program& program) {
    std::vector<sparbor_array> inputs, outputs;
    std::vector<std::vector<uint8_t>> data;
    const auto is_state = [&](size_t sparbor::State::*port, size_t number) {
        return std::any_of(program.states.begin(), program.states.end(),
                           [&](const sparbor::State& each) { return each.*port == number; });
    };
    for (size_t i = 0; i < program.inputs.size(); i++) {
        if (is_state(&sparbor::State::input, i)) continue;
        sparbor_array input = sparbor_input(model, i);
        size_t numbers = 1;
        for (size_t d = 0; d < input.dimensions; d++) {
            input.shape[d] = input.shape[d] == 0 ? 3 : input.shape[d];
            numbers *= input.shape[d];
        }
        data.emplace_back(numbers * 8, uint8_t{1});
        input.data = data.back().data();
        inputs.push_back(input);
    }
    for (size_t i = 0; i < program.outputs.size(); i++)
        if (!is_state(&sparbor::State::output, i)) outputs.push_back(sparbor_output(model, i));
    sparbor_session* const session = sparbor_session_new(model);
    const auto call = [&] {
        char error[300] = "";
        const auto status = sparbor_run_arrays(model, session, inputs.data(), inputs.size(), outputs.data(),
                                               outputs.size(), error, sizeof error);
        if (!status != !std::strlen(error)) std::abort();
        return status == SPARBOR_OK;
    };
    if (call()) {
        for (sparbor_array& output : outputs) output.data = data.emplace_back(output.bytes).data();
        call();
        call();
    }
    sparbor_session_free(session);
}

sparbor_model* load(const uint8_t* data, size_t size) {
    const MemoryBound bound(allowed(size));
    char error[200] = "";
    sparbor_model* model = sparbor_load(data, size, 1, error, sizeof error);
    if (!model != (std::strlen(error) > 0)) std::abort();  // a refusal has a reason
    return model;
}

bool load_and_run(const uint8_t* data, size_t size) {
    sparbor_model* model = load(data, size);
    if (!model) return false;
    const sparbor::Program program = sparbor::read_program(data, size);
    if (sparbor::work_of(program, program.shapes_at(program.known_sizes)) <= most_work && run(model) &&
        !program.states.empty())
        run_in_session(model, program);
    sparbor_free(model);
    return true;
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
    std::minstd_rand random(seed);
    if (!loaded().empty() && random() % 2) {
        const Bytes& file = loaded()[random() % loaded().size()];
        if (file.size() <= most) size = file.size(), std::copy(file.begin(), file.end(), data);
    }
    auto parts = random() % 16 ? take_apart(data, size) : std::nullopt;
    if (!parts) return LLVMFuzzerMutate(data, size, most);
    change(*parts, random, LLVMFuzzerMutate);
    const Bytes changed = put_together(*parts);
    if (changed.size() > most) return LLVMFuzzerMutate(data, size, most);
    std::copy(changed.begin(), changed.end(), data);
    return changed.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    choose_kernels(data, size);
    if (load_and_run(data, size)) remember(data, size);
    return 0;
}
