// The order in which a convolution of bytes reads what its window covers, which is that of its layer's inputs.
#pragma once

#include "ops/window.h"

namespace sparbor {

// The kernel's rows one after another, and in them its columns and of each all channels, those of other groups too: as
// the bytes lie, channels last. Sparse layers have each row filled up to whole branches, or each place of the kernel
// where dilation leaves pixels out between them; no synapse reads what only fills.
struct ReadingOrder {
    ReadingOrder(const Window& window, uint64_t channels);

    uint64_t run;      // consecutive inputs: a row's, or a place's
    uint64_t padded;   // the same, filled up
    uint64_t places;   // runs in a row of the kernel
    uint64_t rows;
    uint64_t fan_in() const { return rows * places * padded; }
};

}  // namespace sparbor
