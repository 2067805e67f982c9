// The C functions: nothing but what turns exceptions into texts and numbers.
#include <algorithm>
#include <cstring>
#include <new>

#include "c_api/model.h"
#include "kernels/dispatch.h"

namespace {

using sparbor::tell;

constexpr unsigned most_threads = 256;

// The numbers of an item, if the value is floats whose first dimension alone has a name, and the only one of its kind.
size_t item_size(const sparbor::Program& program, const std::vector<sparbor::Port>& ports) {
    const sparbor::ValueType& value = program.values[ports[0].value];
    if (ports.size() != 1 || value.type != sparbor::Number::f32 || value.shape.empty() || value.shape[0].named() < 0)
        return 0;
    size_t size = 1;
    for (size_t i = 1; i < value.shape.size(); i++) {
        if (!value.shape[i].is_number()) return 0;
        size *= value.shape[i].at({0, 0});
    }
    return size;
}

template <class Number>
sparbor_status run(sparbor_model* model, const Number* x, float* y, size_t batch) {
    if (!model || !x || !y || batch == 0) return SPARBOR_BAD_ARGUMENT;
    if (sparbor_input_size(model) == 0 || sparbor_output_size(model) == 0) return SPARBOR_BAD_ARGUMENT;
    if (sizeof(Number) == 1 && !model->engine->takes_bytes()) return SPARBOR_NO_BYTES;
    try {
        const sparbor::Given given{x, sizeof(Number) == 1};
        void* const outputs[] = {y};
        model->engine->run(model->engine->prepare(sparbor::Sizes(1, batch)), &given, outputs);
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
        model->kernels = &sparbor::chosen_kernel_set();
        model->program = sparbor::read_program(static_cast<const uint8_t*>(data), size);
        model->engine = std::make_unique<sparbor::Engine>(model->program, *model->kernels, threads);
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

size_t sparbor_input_size(const sparbor_model* model) {
    return sparbor_output_count(model) == 1 ? item_size(model->program, model->program.inputs) : 0;
}

size_t sparbor_output_size(const sparbor_model* model) {
    return sparbor_input_count(model) == 1 ? item_size(model->program, model->program.outputs) : 0;
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
        case SPARBOR_BAD_ARGUMENT:
            return "a pointer is NULL, the batch has no items, or the model needs sparbor_run_arrays";
        case SPARBOR_NO_BYTES: return "this model takes floats: deploy it with byte_input to run it on bytes";
        case SPARBOR_OUT_OF_MEMORY: return "there is not enough memory: pass fewer items at once";
        case SPARBOR_FAILED: break;
    }
    return "the model could not be run";
}
