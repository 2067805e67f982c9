// Convolutions over quantized planes, whose bytes lie channels last.
#pragma once

#include "kernels/pixels.h"
#include "plan/call.h"
#include "plan/placement.h"

namespace sparbor {

// Lines of outputs read bands of the input's rows: where those lie, or where a thread has copied them with x's zero
// around them. Units of work are bands, and of these parts of the output's blocks.
class PixelConvolution : public Step {
public:
    void run(const Call& call) const final;
    size_t scratch_floats() const final;  // of a thread: a band of padded rows

protected:
    // `filler` is the byte around the planes. There are `blocks` of outputs, whose weights take so many bytes, and
    // all of it so many nanoseconds, roughly.
    PixelConvolution(const Placement& at, const Geometry& geometry, uint8_t filler, size_t blocks, size_t weight_bytes,
                     double work);

    // From one row that kernels see of x to the next, in bytes.
    size_t row_pitch() const { return row_pitch_; }

    // The outputs of some blocks for these rows of pixels.
    virtual void compute(const Call& call, const PixelRows& rows, size_t first_block, size_t last_block) const = 0;

private:
    struct Units {
        size_t bands, parts;
    };
    struct Band {
        size_t item, first, last;  // lines of outputs
    };

    void see_one_row();
    Units units(size_t threads) const;
    Band band(size_t number, size_t bands) const;
    int64_t input_rows(size_t lines) const;
    int64_t item_bytes() const { return geometry_.height * geometry_.width * geometry_.channels; }
    void pad(const uint8_t* item, const Band& band, uint8_t* to) const;
    PixelRows rows_of(const Call& call, const Band& band, const uint8_t* padded) const;

    Geometry geometry_;
    size_t x_, y_, residual_;  // where they begin, in bytes
    bool has_residual_, padded_;
    uint8_t filler_;
    size_t items_, lines_, pixels_;  // of an item: lines of outputs, and their pixels
    bool one_row_;                   // whether the pixels of all lines follow each other
    size_t row_pitch_, band_lines_, blocks_, weight_parts_;
    double work_;
};

}  // namespace sparbor
