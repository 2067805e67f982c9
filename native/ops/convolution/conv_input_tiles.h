// The planes of a convolution's input as its kernels read them: a synapse is then one multiply-add of its weight and
// sixteen consecutive pixels.
#pragma once

#include <vector>

#include "kernels/kernels.h"

namespace sparbor {

// How the planes of an item are laid out for the kernels, strip by strip of output rows.
//
// A tap (ky, kx) of an output pixel reads a pixel of a shifted plane. A copy of the plane, shifted by kx and with the
// padding written in, serves every ky whose rows lie whole vectors away. Its rows are as long as the output's, give or
// take what aligns them, so pixels are numbered through without a gap.
class ConvInputTiles {
public:
    enum class Pixels {
        in_vectors,
        one_by_one
    };  // how the kernel reads them: by aligned vectors if it can be, or each
    // `x_stride` floats lie between two planes of the input; with `zeros`, there are some to read for padding.
    ConvInputTiles(const Geometry& geometry, size_t x_stride, Pixels pixels, bool zeros);

    size_t strips() const { return (out_height_ + rows_ - 1) / rows_; }
    size_t chunks() const { return (groups_ + groups_at_once_ - 1) / groups_at_once_; }
    size_t scratch_floats() const { return in_place_ ? 0 : packed_floats() + (zeros_ ? columns(rows_) : 0); }

    struct Strip {
        size_t first_row, rows;
        size_t first_group, last_group;  // of the convolution
    };
    Strip strip(size_t chunk, size_t number) const;

    // Prepares some channels of a strip's; they are counted from the strip's first.
    void prepare(const Planes& planes, const float* item, const Strip& strip, size_t first, size_t last,
                 float* scratch) const;
    size_t channels(const Strip& strip) const { return (strip.last_group - strip.first_group) * group_channels_; }

    // What one group of the convolution reads.
    PackedInput packed(const float* item, const Strip& strip, size_t group, const float* scratch) const;

    size_t pitch() const { return pitch_; }
    // Columns of a strip, whole lane groups.
    size_t columns(size_t rows) const { return round_up(rows * pitch_, column_tile); }
    size_t most_columns() const { return columns(rows_); }
    // Whether the results lie as the output plane wants them, up to a last vector that nobody else writes to.
    bool results_in_place(const Strip& strip) const;

private:
    struct Copy {
        Shift shift;
        size_t more_rows;  // than the output has
        size_t offset;
    };
    void choose_pitch();
    void find_copies(size_t alignment);
    bool rows_need_strips() const;
    void choose_rows();
    void lay_out();
    size_t packed_floats() const { return groups_at_once_ * group_channels_ * channel_size_; }
    size_t channel_floats(size_t rows) const;

    Geometry geometry_;
    size_t x_stride_, groups_, group_channels_, out_height_;
    Pixels pixels_;
    bool zeros_, in_place_;
    size_t pitch_, rows_, groups_at_once_, channel_size_;
    std::vector<Copy> copies_;
    struct Tap {
        size_t copy, shift;
    };
    std::vector<Tap> taps_;
    std::vector<uint32_t> offsets_;
    uint32_t chunk_shift_;
    // By strip and copy, what each vector is made of; none for large planes, whose rows are shifted one by one.
    void make_tables();
    std::vector<Gather> table(const Copy& copy, const Strip& strip) const;
    std::vector<std::vector<Gather>> tables_;
};

}  // namespace sparbor
