#include "kernels/dispatch.h"

#include <cstdlib>
#include <stdexcept>

#include "kernels/bytes.h"
#include "kernels/quads.h"

#ifdef SPARBOR_X86
#include <cpuid.h>
#endif
#if defined(SPARBOR_ARM64) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace sparbor {
namespace {

bool always() { return true; }

#ifdef SPARBOR_X86

struct Registers {
    unsigned a, b, c, d;
};

Registers cpuid(unsigned leaf, unsigned part = 0) {
    Registers r{};
    __get_cpuid_count(leaf, part, &r.a, &r.b, &r.c, &r.d);
    return r;
}

bool has(unsigned bits, unsigned wanted) { return (bits & wanted) == wanted; }

// Which register states the operating system saves; a processor may have AVX-512 that the system does not know.
uint64_t saved_states() {
    if (!has(cpuid(1).c, bit_OSXSAVE)) return 0;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return static_cast<uint64_t>(high) << 32 | low;
}

constexpr uint64_t avx_states = 0x06;     // SSE, AVX
constexpr uint64_t avx512_states = 0xe6;  // and the masks, the upper halves and the upper sixteen registers

bool can_avx2() {
    return (saved_states() & avx_states) == avx_states && has(cpuid(1).c, bit_AVX | bit_FMA | bit_F16C) &&
           has(cpuid(7).b, bit_AVX2);
}

bool can_avx512() {
    return can_avx2() && (saved_states() & avx512_states) == avx512_states &&
           has(cpuid(7).b, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL);
}

bool can_avx2vnni() {
    constexpr unsigned avx_vnni = 1 << 4;
    return can_avx2() && has(cpuid(7, 1).a, avx_vnni);
}

bool can_avx512vnni() { return can_avx512() && has(cpuid(7).c, bit_AVX512VBMI | bit_AVX512VNNI); }

#endif

#ifdef SPARBOR_ARM64

bool can_neondot() {
#if defined(__APPLE__)
    return true;  // all of Apple's processors that are not telephones
#elif defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return false;
#endif
}

#endif

// The same kernels, but for layers of bytes. Put together here: a file of kernels may run nothing by itself.
[[maybe_unused]] KernelSet with_quads(KernelSet set, const char* name, const Quads& quads,
                                      const ByteKernels& bytes) {
    set.name = name;
    set.quads = &quads;
    set.bytes = &bytes;
    return set;
}

#ifdef SPARBOR_X86
const KernelSet avx2vnni_kernels = with_quads(avx2::kernels, "avx2vnni", avx2vnni::quads, avx2vnni::byte_kernels);
const KernelSet avx512vnni_kernels =
    with_quads(avx512::kernels, "avx512vnni", avx512vnni::quads, avx512vnni::byte_kernels);
#endif
#ifdef SPARBOR_ARM64
const KernelSet neondot_kernels =
    with_quads(neon::kernels, "neondot", neondot::quads, neondot::byte_kernels);
#endif

struct Candidate {
    const KernelSet* set;
    bool (*runs_here)();
};

const Candidate best_first[] = {
#ifdef SPARBOR_X86
    {&avx512vnni_kernels, can_avx512vnni},
    {&avx512::kernels, can_avx512},
    {&avx2vnni_kernels, can_avx2vnni},
    {&avx2::kernels, can_avx2},
#endif
#ifdef SPARBOR_ARM64
    {&neondot_kernels, can_neondot},
    {&neon::kernels, always},
#endif
    {&portable::kernels, always},
};

}  // namespace

const std::vector<const KernelSet*>& available_kernel_sets() {
    // Asked once: on a virtual machine the processor's answer takes longer than a small layer.
    static const std::vector<const KernelSet*> sets = [] {
        std::vector<const KernelSet*> found;
        for (const Candidate& candidate : best_first)
            if (candidate.runs_here()) found.push_back(candidate.set);
        return found;
    }();
    return sets;
}

const KernelSet* find_kernel_set(const std::string& name) {
    for (const KernelSet* set : available_kernel_sets())
        if (name == set->name) return set;
    return nullptr;
}

const KernelSet& chosen_kernel_set() {
    const char* forced = std::getenv("SPARBOR_ISA");
    if (!forced || !*forced) return *available_kernel_sets().front();
    const KernelSet* found = find_kernel_set(forced);
    if (!found) throw std::runtime_error(std::string("SPARBOR_ISA=") + forced + " cannot run on this machine");
    return *found;
}

}  // namespace sparbor
