// The operators SparseLinear and SparseConv of domain "sparbor" for ONNX Runtime: a library that sessions register.
//
// Both take floats and a packed layer, which is a constant of bytes, and give floats. They run on ONNX Runtime's threads.
#include <onnxruntime_c_api.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <thread>

#include "onnxruntime/packed_layer.h"

#if defined(_WIN32)
#define SPARBOR_EXPORT __declspec(dllexport)
#else
#define SPARBOR_EXPORT __attribute__((visibility("default")))
#endif

namespace sparbor {
namespace {

// The oldest that has all functions that are called here: ONNX Runtime 1.17. Later ones have them too.
constexpr uint32_t api_version = 17;
constexpr size_t most_threads = 64;

// A status of ONNX Runtime that says that something went wrong. Thrown where it is found, returned to the runtime.
struct Failed {
    OrtStatus* status;
};

void check(OrtStatus* status) {
    if (status) throw Failed{status};
}

// Runs `work`, and says as ONNX Runtime does what went wrong: no exception may leave the library.
template <class Work>
OrtStatus* as_status(const OrtApi& api, const char* name, const Work& work) noexcept {
    try {
        work();
        return nullptr;
    } catch (const Failed& failed) {
        return failed.status;
    } catch (const std::bad_alloc&) {
        return api.CreateStatus(ORT_FAIL, "sparbor: there is not enough memory for this node");
    } catch (const std::exception& reason) {
        try {
            return api.CreateStatus(ORT_INVALID_ARGUMENT, (std::string("sparbor ") + name + ": " + reason.what()).c_str());
        } catch (...) {
        }
    } catch (...) {
    }
    return api.CreateStatus(ORT_FAIL, "sparbor: a node could not be run");
}

// The threads of a session, of which a call knows no more than that work can be shared among them.
class SessionThreads final : public Workers {
public:
    SessionThreads(const OrtApi& api, const OrtKernelContext* context, size_t threads)
        : api_(api), context_(context), threads_(threads) {}
    size_t threads() const override { return threads_; }

private:
    void run_pieces(size_t pieces, PieceCall call, const void* context) override {
        struct Job {
            PieceCall call;
            const void* context;
            size_t pieces;
            std::atomic<size_t> next{0};
        } job{call, context, pieces};
        const auto take = [](void* data, size_t thread) {
            Job& job = *static_cast<Job*>(data);
            for (size_t i; (i = job.next.fetch_add(1)) < job.pieces;) job.call(job.context, i, thread);
        };
        check(api_.KernelContext_ParallelFor(context_, take, std::min(pieces, threads_), 0, &job));
    }

    const OrtApi& api_;
    const OrtKernelContext* context_;
    size_t threads_;
};

// How many a session may have; asked once, since the system takes longer to say it than a small layer.
size_t threads_here() {
    static const size_t found = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, most_threads);
    return found;
}

// The dimensions of a tensor.
PackedLayer::Dimensions shape_of(const OrtApi& api, const OrtValue* value) {
    OrtTensorTypeAndShapeInfo* info = nullptr;
    check(api.GetTensorTypeAndShape(value, &info));
    size_t rank = 0;
    OrtStatus* status = api.GetDimensionsCount(info, &rank);
    PackedLayer::Dimensions shape(rank);
    if (!status) status = api.GetDimensions(info, shape.data(), rank);
    api.ReleaseTensorTypeAndShapeInfo(info);
    check(status);
    return shape;
}

template <class Number>
Number* data_of(const OrtApi& api, const OrtValue* value) {
    void* data = nullptr;
    check(api.GetTensorMutableData(const_cast<OrtValue*>(value), &data));  // there is no function that only reads
    return static_cast<Number*>(data);
}

// A node of a session.
class Kernel {
public:
    Kernel(const OrtApi& api, const char* name, const uint8_t* bytes, size_t size, PackedLayer::Over over)
        : name(name), api(api), layer_(bytes, size, over, threads_here()) {}

    void compute(OrtKernelContext* context) {
        const OrtValue* x = nullptr;
        check(api.KernelContext_GetInput(context, 0, &x));
        SessionThreads threads(api, context, threads_here());
        const auto place = [&](const PackedLayer::Dimensions& shape) {
            OrtValue* y = nullptr;
            check(api.KernelContext_GetOutput(context, 0, shape.data(), shape.size(), &y));
            return data_of<float>(api, y);
        };
        layer_.run(shape_of(api, x), data_of<const float>(api, x), place, &threads);
    }

    const char* const name;
    const OrtApi& api;

private:
    PackedLayer layer_;
};

// An operator as ONNX Runtime asks for it.
struct Operator : OrtCustomOp {
    const char* name;
    PackedLayer::Over over;
};

enum Input { x_input, layer_input, inputs };

const Operator& own(const OrtCustomOp* op) { return *static_cast<const Operator*>(op); }

void make_kernel(const Operator& op, const OrtApi& api, const OrtKernelInfo* info, void** kernel) {
    int constant = 0;
    const OrtValue* packed = nullptr;
    check(api.KernelInfoGetConstantInput_tensor(info, layer_input, &constant, &packed));
    if (!constant || !packed)
        throw Refused("its second input, the packed layer, is no constant", "make it an initializer of the graph");
    size_t size = 1;
    for (const int64_t each : shape_of(api, packed)) size *= static_cast<size_t>(each);
    *kernel = new Kernel(api, op.name, data_of<const uint8_t>(api, packed), size, op.over);
}

Operator described(const char* name, PackedLayer::Over over) {
    Operator op{};
    op.name = name;
    op.over = over;
    op.version = api_version;
    op.GetName = [](const OrtCustomOp* op) { return own(op).name; };
    op.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return "CPUExecutionProvider"; };
    op.GetInputTypeCount = [](const OrtCustomOp*) -> size_t { return inputs; };
    op.GetInputType = [](const OrtCustomOp*, size_t input) {
        return input == layer_input ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    };
    op.GetInputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
    op.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return OrtMemTypeDefault; };
    op.GetOutputTypeCount = [](const OrtCustomOp*) -> size_t { return 1; };
    op.GetOutputType = [](const OrtCustomOp*, size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; };
    op.GetOutputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
    op.GetVariadicInputMinArity = op.GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 1; };
    op.GetVariadicInputHomogeneity = op.GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 1; };
    op.GetStartVersion = op.GetEndVersion = [](const OrtCustomOp*) { return 1; };
    op.CreateKernelV2 = [](const OrtCustomOp* op, const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
        return as_status(*api, own(op).name, [&] { make_kernel(own(op), *api, info, kernel); });
    };
    op.KernelComputeV2 = [](void* kernel, OrtKernelContext* context) {
        Kernel& own = *static_cast<Kernel*>(kernel);
        return as_status(own.api, own.name, [&] { own.compute(context); });
    };
    op.KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
    return op;
}

void add_operators(const OrtApi& api, OrtSessionOptions* options) {
    // Sessions hold them for as long as they live, so they are never destroyed.
    static const Operator linear = described("SparseLinear", PackedLayer::Over::rows);
    static const Operator convolution = described("SparseConv", PackedLayer::Over::items);
    OrtCustomOpDomain* domain = nullptr;
    check(api.CreateCustomOpDomain("sparbor", &domain));
    for (const Operator* op : {&linear, &convolution}) check(api.CustomOpDomain_Add(domain, op));
    check(api.AddCustomOpDomain(options, domain));
}

}  // namespace
}  // namespace sparbor

// What ONNX Runtime calls when a session's options register the library.
extern "C" SPARBOR_EXPORT OrtStatus* ORT_API_CALL RegisterCustomOps(OrtSessionOptions* options,
                                                                     const OrtApiBase* base) {
    const OrtApi* api = base->GetApi(sparbor::api_version);
    if (api) return sparbor::as_status(*api, "operators", [&] { sparbor::add_operators(*api, options); });
    const std::string fault = std::string("sparbor's operators need ONNX Runtime 1.17 or later, and this is ") +
                              base->GetVersionString() + ": upgrade onnxruntime";
    return base->GetApi(1)->CreateStatus(ORT_NOT_IMPLEMENTED, fault.c_str());
}
