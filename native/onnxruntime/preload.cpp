// For programs that cannot name a library of operators, as those of onnxruntime-node: with this one in LD_PRELOAD, the
// options of all sessions have the operators of the library beside it.
//
// ONNX Runtime hands its functions out in a table, which this one changes in place: a copy could be too short for a
// program that knows more functions than the header that this was compiled with.
#include <dlfcn.h>
#include <onnxruntime_c_api.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>

namespace {

constexpr uint32_t api_version = 17;
using MakeOptions = OrtStatus*(ORT_API_CALL*)(OrtSessionOptions**)NO_EXCEPTION;

const OrtApi* api;
MakeOptions make_plain_options;

[[noreturn]] void fail(const std::string& fault) {
    std::fprintf(stderr, "libsparbor_onnxruntime_preload: %s\n", fault.c_str());
    std::exit(1);
}

std::string operators_path() {
    Dl_info here;
    if (!dladdr(reinterpret_cast<void*>(&operators_path), &here)) fail("it does not find itself");
    const std::string own = here.dli_fname;
    return own.substr(0, own.rfind('/') + 1) + "libsparbor_onnxruntime.so";
}

OrtStatus* ORT_API_CALL make_options(OrtSessionOptions** options) NO_EXCEPTION {
    if (OrtStatus* status = make_plain_options(options)) return status;
    static const std::string path = operators_path();
    return api->RegisterCustomOpsLibrary_V2(*options, path.c_str());
}

void change_table(const OrtApiBase& base) {
    api = base.GetApi(api_version);
    if (!api) fail(std::string("it needs ONNX Runtime 1.17 or later, and this is ") + base.GetVersionString());
    make_plain_options = api->CreateSessionOptions;
    auto* const place = const_cast<MakeOptions*>(&api->CreateSessionOptions);
    const auto size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    void* const page = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(place) / size * size);
    if (mprotect(page, size, PROT_READ | PROT_WRITE)) fail("ONNX Runtime's table of functions cannot be written");
    *place = make_options;
    mprotect(page, size, PROT_READ);
}

// Of the ONNX Runtime that the program has loaded, maybe for itself alone, so that it is looked up by its name.
const OrtApiBase* real_base() {
    void* const runtime = dlopen("libonnxruntime.so.1", RTLD_LAZY | RTLD_NOLOAD);
    void* const found = runtime ? dlsym(runtime, "OrtGetApiBase") : dlsym(RTLD_NEXT, "OrtGetApiBase");
    if (!found) fail("the program has no libonnxruntime.so.1");
    return reinterpret_cast<const OrtApiBase*(ORT_API_CALL*)()>(found)();
}

}  // namespace

// Found before ONNX Runtime's own, because this library is loaded first.
extern "C" __attribute__((visibility("default"))) const OrtApiBase* ORT_API_CALL OrtGetApiBase(void) NO_EXCEPTION {
    static const OrtApiBase* const base = real_base();
    static std::once_flag once;
    std::call_once(once, [] { change_table(*base); });
    return base;
}
