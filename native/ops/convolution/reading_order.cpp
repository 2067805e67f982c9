#include "ops/convolution/reading_order.h"

#include "kernels/quads.h"

namespace sparbor {

ReadingOrder::ReadingOrder(const Window& window, uint64_t channels) : rows(static_cast<uint64_t>(window.kernel[0])) {
    const auto columns = static_cast<uint64_t>(window.kernel[1]);
    const bool apart = columns > 1 && window.dilation[1] > 1;
    places = apart ? columns : 1;
    run = channels * (apart ? 1 : columns);
    padded = round_up(run, quad_branch);
}

}  // namespace sparbor
