#include "python/training.h"

#include <algorithm>
#include <vector>

namespace sparbor {
namespace {

// Pieces of about this many multiply-adds: a tenth of a millisecond, which waking a thread is worth.
constexpr size_t piece_work = size_t{1} << 20;
constexpr size_t most_pieces = 64;

// Cuts the rows where their synapses come to equal shares.
std::vector<size_t> cut(const Topology& topology, size_t pieces) {
    std::vector<size_t> ends{0};
    for (size_t row = 1, piece = 1; row <= topology.rows; row++) {
        if (row < topology.rows && topology.end(row) * pieces < topology.end(topology.rows) * piece) continue;
        ends.push_back(row);
        while (piece < pieces && topology.end(row) * pieces >= topology.end(topology.rows) * piece) piece++;
        if (piece == pieces && row < topology.rows) {
            ends.push_back(topology.rows);
            break;
        }
    }
    return ends;
}

size_t pieces_for(size_t work, size_t most) { return std::clamp<size_t>(work / piece_work, 1, most); }

// Where the results of a few rows wait to be turned around, a line of pixels at a time. Each thread has its own.
template <class Real>
Real* waiting(size_t count) {
    thread_local std::vector<Real> kept;
    if (kept.size() < count) kept.resize(count);
    return kept.data();
}

// One line of the rows from `first` to `last`, from lanes to the items: `tile` has them in the order of the batch.
template <class Real>
void turn_line(ToItems<Real> kernel, const Real* tile, size_t first, size_t last, size_t lanes, size_t line,
               const Batch<Real>& y) {
    const size_t rows = last - first;
    const size_t runs = y.channels_last ? y.width : rows, run = y.channels_last ? rows : y.width;
    for (size_t lane = 0; lane < y.items; lane += column_tile) {
        const size_t count = std::min(column_tile, y.items - lane);
        Real* items = y.data + lane * y.size();
        if (y.channels_last && rows == y.channels) {
            kernel(tile + lane, lanes, count, runs * run, items + line * y.width * y.channels, y.size());
            continue;
        }
        for (size_t i = 0; i < runs; i++) {
            const size_t at = y.channels_last ? (line * y.width + i) * y.channels + first
                                              : ((first + i) * y.height + line) * y.width;
            kernel(tile + i * run * lanes + lane, lanes, count, run, items + at, y.size());
        }
    }
}

}  // namespace

template <>
TrainingKernels<float>::TrainingKernels(const KernelSet& set)
    : sum(set.training->sum), add_dots(set.training->add_dots), to_batch_layout(set.batch_layout->to_batch_layout),
      to_items(set.batch_layout->to_items) {}

template <>
TrainingKernels<double>::TrainingKernels(const KernelSet& set)
    : sum(set.training->sum_doubles), add_dots(set.training->add_dots_of_doubles),
      to_batch_layout(set.batch_layout->to_batch_layout_of_doubles), to_items(set.batch_layout->to_items_of_doubles) {}

template <class Real>
void to_batch_layout(const Team& team, const TrainingKernels<Real>& kernels, const Batch<const Real>& x, size_t top,
                     size_t left, const Lanes<Real>& lanes) {
    // A line of one channel, or of all: these come pixel by pixel.
    const size_t planes = x.channels_last ? 1 : x.channels;
    const size_t runs = x.channels_last ? x.width : 1, numbers = x.channels_last ? x.channels : x.width;
    const size_t margin = left * lanes.pixel, whole = x.width * lanes.pixel + 2 * margin;
    const size_t tiles = lanes.lanes / column_tile;
    team.run(planes * lanes.height * tiles, [&](size_t piece) {
        const size_t tile = piece % tiles, line = piece / tiles % lanes.height, plane = piece / tiles / lanes.height;
        Real* to = lanes.data + plane * lanes.channel + line * lanes.line;
        const bool outside = line < top || line >= top + x.height;
        if (tile == 0) {
            std::fill(to, outside ? to + whole : to + margin, Real(0));
            std::fill(to + whole - margin, to + whole, Real(0));
        }
        if (outside) return;
        const size_t first = std::min(tile * column_tile, x.items);
        const Real* from = x.data + first * x.size() + (plane * x.height + line - top) * runs * numbers;
        for (size_t run = 0; run < runs; run++)
            kernels.to_batch_layout(from + run * numbers, x.size(), std::min(column_tile, x.items - first), numbers,
                             to + margin + run * lanes.pixel + tile * column_tile, lanes.lanes);
    });
}

template <class Real>
void sum_all(const Team& team, const TrainingKernels<Real>& kernels, const Topology& topology, const Real* weights,
             const Real* bias, const Lanes<const Real>& x, const Batch<Real>& y) {
    const size_t columns = y.width * x.lanes;
    const std::vector<size_t> ends = cut(topology, pieces_for(topology.end(y.channels) * columns, most_pieces));
    const size_t ranges = ends.size() - 1;
    team.run(ranges * y.height, [&](size_t piece) {
        const size_t first = ends[piece % ranges], last = ends[piece % ranges + 1], line = piece / ranges;
        Real* tile = waiting<Real>((last - first) * columns);
        const size_t y_stride = y.channels_last ? x.lanes : columns, y_pixel = y.channels_last ? last - first : 1;
        SumOf<Real> job{weights,
                        bias,
                        false,
                        x.data + line * x.line,
                        x.lanes,
                        x.pixel,
                        tile - first * y_stride,
                        y_stride,
                        y_pixel * x.lanes,
                        x.lanes,
                        y.width};
        if (!y.channels_last) {  // pixels that lie side by side are as good as lanes
            job.columns = columns;
            job.pixels = 1;
        }
        for (size_t part = 0; part < topology.parts; part++, job.goes_on = true)
            kernels.sum(topology.part(part), job, first, last);
        turn_line(kernels.to_items, static_cast<const Real*>(tile), first, last, x.lanes, line, y);
    });
}

template <class Real>
void add_all_dots(const Team& team, const TrainingKernels<Real>& kernels, const Topology& topology,
                  const Lanes<const Real>& x, const Lanes<const Real>& dy, size_t top, size_t left, Real* gradients) {
    const size_t height = dy.height - 2 * top, width = dy.width - 2 * left, columns = width * x.lanes;
    // Every synapse is one thread's alone, which adds its lines up in order. The fewer pieces, the more synapses find
    // their inputs in a cache.
    const size_t work = topology.end(dy.channels) * columns * height;
    const std::vector<size_t> ends =
        cut(topology, pieces_for(work, std::min(most_pieces, 4 * team.threads())));
    team.run(ends.size() - 1, [&](size_t range) {
        for (size_t line = 0; line < height; line++) {
            DotsOf<Real> job{gradients,
                             x.data + line * x.line,
                             x.lanes,
                             x.pixel,
                             dy.data + (line + top) * dy.line + left * dy.pixel,
                             dy.channel,
                             dy.pixel,
                             x.lanes,
                             1};
            if (!x.channels_last) job.columns = columns;
            job.pixels = columns / job.columns;
            for (size_t part = 0; part < topology.parts; part++)
                kernels.add_dots(topology.part(part), job, ends[range], ends[range + 1]);
        }
    });
}

#define FOR(Real)                                                                                                      \
    template void to_batch_layout(const Team&, const TrainingKernels<Real>&, const Batch<const Real>&, size_t, size_t, \
                                  const Lanes<Real>&);                                                                 \
    template void sum_all(const Team&, const TrainingKernels<Real>&, const Topology&, const Real*, const Real*,        \
                          const Lanes<const Real>&, const Batch<Real>&);                                               \
    template void add_all_dots(const Team&, const TrainingKernels<Real>&, const Topology&, const Lanes<const Real>&,   \
                               const Lanes<const Real>&, size_t, size_t, Real*);
FOR(float)
FOR(double)
#undef FOR

}  // namespace sparbor
