#include "plan/limits.h"

#include <algorithm>
#include <cstdio>

namespace sparbor {
namespace {

constexpr uint64_t most_compared = uint64_t{1} << 28;  // pairs of taps of all kernels

std::string allowed_for(const Program& program, const std::string& most) {
    return "weights of " + with_commas(program.weight_bytes()) + " bytes allow for " + most;
}

void check_bytes(const Program& program, uint64_t bytes, const char* what) {
    const uint64_t most = program.allowed_bytes();
    if (bytes > most)
        throw Refused(std::string(what) + " needs " + with_commas(bytes) + " bytes of workspace, and " +
                      allowed_for(program, with_commas(most)));
}

std::string short_text(double number) {
    char text[16];
    std::snprintf(text, sizeof text, "%.1e", number);
    return text;
}

}  // namespace

void check_memory(const Program& program, uint64_t bytes) { check_bytes(program, bytes, "one item"); }

void check_layouts(const Program& program, const std::vector<Shape>& shapes) {
    uint64_t bytes = 0, compared = 0;
    for (const Operation& operation : program.operations) {
        const LayoutCost layout = operation.type->layout({operation, program, shapes});
        bytes += layout.bytes;
        check_bytes(program, bytes, "what its layers are laid out in");
        compared += layout.compared;
        if (compared > most_compared)
            throw Refused("its convolutions' kernels have " + with_commas(compared) + " pairs of taps, more than " +
                          with_commas(most_compared));
    }
}

double work_of(const Program& program, const std::vector<Shape>& shapes) {
    double sum = 0;
    for (const Operation& operation : program.operations) sum += operation.type->work({operation, program, shapes});
    return sum;
}

void check_work(const Program& program, const std::vector<Shape>& shapes) {
    const double most = 0x1p38 + 0x1p20 * static_cast<double>(program.weight_bytes());  // minutes, for a few bytes
    if (const double work = work_of(program, shapes); work > most)
        throw Refused("one item needs " + short_text(work) + " multiply-adds, and " +
                      allowed_for(program, short_text(most)));
}

}  // namespace sparbor
