// The C functions: nothing but what turns exceptions into texts and numbers.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/dispatch.h"
#include "plan/assemble.h"

#if defined(_WIN32)
#define SPARBOR_API __declspec(dllexport)
#endif
#include "c_api/sparbor.h"

struct sparbor_model {
    sparbor::Program program;
    const sparbor::KernelSet* kernels;
    std::unique_ptr<sparbor::Engine> engine;  // points into the program
};

namespace {

using sparbor::numbers_of;

constexpr unsigned most_threads = 256;

const sparbor::KernelSet* chosen_kernels() {
    const char* forced = std::getenv("SPARBOR_ISA");
    if (!forced || !*forced) return sparbor::available_kernel_sets().front();
    const sparbor::KernelSet* found = sparbor::find_kernel_set(forced);
    if (!found) throw std::runtime_error(std::string("SPARBOR_ISA=") + forced + " cannot run on this machine");
    return found;
}

void tell(const char* text, char* error, size_t size) {
    if (!error || size == 0) return;
    const size_t length = std::min(std::strlen(text), size - 1);
    std::memcpy(error, text, length);
    error[length] = '\0';
}

template <class Number>
sparbor_status run(sparbor_model* model, const Number* x, float* y, size_t batch) {
    if (!model || !x || !y || batch == 0) return SPARBOR_BAD_ARGUMENT;
    if (sizeof(Number) == 1 && !model->engine->takes_bytes()) return SPARBOR_NO_BYTES;
    try {
        model->engine->run(x, y, batch);
        return SPARBOR_OK;
    } catch (const std::bad_alloc&) {
        return SPARBOR_OUT_OF_MEMORY;
    } catch (...) {
        return SPARBOR_FAILED;
    }
}

}  // namespace

sparbor_model* sparbor_load(const void* data, size_t size, unsigned threads, char* error, size_t error_size) {
    try {
        if (!data) throw std::runtime_error("data is NULL: pass a model file's bytes");
        if (threads < 1 || threads > most_threads) throw std::runtime_error("threads must be from 1 to 256");
        auto model = std::make_unique<sparbor_model>();
        model->kernels = chosen_kernels();
        model->program = sparbor::read_program(static_cast<const uint8_t*>(data), size);
        model->engine = sparbor::assemble(model->program, *model->kernels, threads);
        return model.release();
    } catch (const std::bad_alloc&) {
        tell("there is not enough memory for this model", error, error_size);
    } catch (const std::exception& reason) {
        tell(reason.what(), error, error_size);
    } catch (...) {
        tell("unknown error", error, error_size);
    }
    return nullptr;
}

void sparbor_free(sparbor_model* model) { delete model; }

size_t sparbor_input_size(const sparbor_model* model) { return numbers_of(model->program.shapes[model->program.input]); }

size_t sparbor_output_size(const sparbor_model* model) {
    return numbers_of(model->program.shapes[model->program.output]);
}

int sparbor_takes_bytes(const sparbor_model* model) { return model->engine->takes_bytes(); }

const char* sparbor_kernels(const sparbor_model* model) { return model->kernels->name; }

sparbor_status sparbor_run(sparbor_model* model, const float* x, float* y, size_t batch) {
    return run(model, x, y, batch);
}

sparbor_status sparbor_run_bytes(sparbor_model* model, const uint8_t* x, float* y, size_t batch) {
    return run(model, x, y, batch);
}

const char* sparbor_status_text(sparbor_status status) {
    switch (status) {
        case SPARBOR_OK: return "it went well";
        case SPARBOR_BAD_ARGUMENT: return "a pointer is NULL, or the batch has no items";
        case SPARBOR_NO_BYTES: return "this model takes floats: deploy it with byte_input to run it on bytes";
        case SPARBOR_OUT_OF_MEMORY: return "there is not enough memory: pass fewer items at once";
        case SPARBOR_FAILED: break;
    }
    return "the model could not be run";
}
