#include "ops/convolution/packed_input_step.h"

namespace sparbor {

// Many units: a thread prepares and computes its own. Few: the threads prepare one together and then share its blocks.
void PackedInputStep::run(const Call& call) const {
    const size_t count = units();
    const double work = item_work() * static_cast<double>(items_);
    if (count >= 2 * call.threads() || call.threads() == 1)
        return call.split(count, work, [&](size_t first, size_t last, size_t thread) {
            float* const own = call.scratch(thread);
            for (size_t unit = first; unit < last; unit++) {
                prepare(call, unit, 0, inputs(unit), own, own + own_floats());
                compute(call, unit, 0, blocks(unit), own, own + own_floats());
            }
        });
    float* const shared = call.scratch() + own_floats();
    for (size_t unit = 0; unit < count; unit++) {
        call.split(inputs(unit), work / static_cast<double>(count), [&](size_t first, size_t last, size_t thread) {
            prepare(call, unit, first, last, call.scratch(thread), shared);
        });
        call.split(blocks(unit), work / static_cast<double>(count), [&](size_t first, size_t last, size_t thread) {
            compute(call, unit, first, last, call.scratch(thread), shared);
        });
    }
}

}  // namespace sparbor
