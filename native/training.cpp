#include "training.h"

#include <algorithm>
#include <vector>

namespace sparbor {
namespace {

// Pieces of about this many multiply-adds: a tenth of a millisecond, which waking a thread is worth.
constexpr size_t piece_work = size_t{1} << 20;
constexpr size_t most_pieces = 64;

// What the dot products of so many pixels read fits into a second cache, and they are summed up before they are added.
constexpr size_t pixels_at_once = 4;

// Cuts the rows where their synapses come to equal shares.
std::vector<size_t> cut(const SynapseRows& rows, size_t count, size_t pieces) {
    const size_t synapses = rows.starts[count];
    std::vector<size_t> ends{0};
    for (size_t piece = 1; piece < pieces; piece++) {
        const auto share = static_cast<uint32_t>(synapses * piece / pieces);
        const auto end = static_cast<size_t>(std::lower_bound(rows.starts, rows.starts + count, share) - rows.starts);
        if (end > ends.back()) ends.push_back(end);
    }
    if (count > ends.back()) ends.push_back(count);
    return ends;
}

size_t pieces_for(size_t synapses, size_t columns, size_t most) {
    return std::clamp<size_t>(synapses * columns / piece_work, 1, most);
}

// The job for one line of pixels, counted over all chunks.
template <class Job>
Job at_line(Job job, const Sweep& sweep, size_t line) {
    const size_t chunk = line / sweep.lines, within = line % sweep.lines;
    job.x += chunk * sweep.x.chunk + within * sweep.x.line;
    job.y += chunk * sweep.y.chunk + within * sweep.y.line;
    return job;
}

}  // namespace

template <class Real>
void sum_all(const Team& team, SumKernel<Real> kernel, const SynapseRows& rows, const SumOf<Real>& job,
             const Sweep& sweep) {
    const size_t work = job.columns * sweep.pixels;
    const std::vector<size_t> ends = cut(rows, sweep.rows, pieces_for(rows.starts[sweep.rows], work, most_pieces));
    const size_t ranges = ends.size() - 1, lines = sweep.chunks * sweep.lines;
    const size_t together = std::clamp<size_t>(lines * ranges / most_pieces, 1, sweep.lines);
    const size_t blocks = (lines + together - 1) / together;
    team.run(ranges * blocks, [&](size_t piece) {
        const size_t range = piece % ranges, block = piece / ranges;
        for (size_t line = block * together; line < std::min(lines, (block + 1) * together); line++) {
            SumOf<Real> part = at_line(job, sweep, line);
            for (size_t pixel = 0; pixel < sweep.pixels; pixel++, part.x += sweep.x.pixel, part.y += sweep.y.pixel)
                kernel(rows, part, ends[range], ends[range + 1]);
        }
    });
}

template <class Real>
void add_all_dots(const Team& team, DotsKernel<Real> kernel, const SynapseRows& rows, const DotsOf<Real>& job,
                  const Sweep& sweep) {
    const size_t lines = sweep.chunks * sweep.lines;
    // Every synapse is one thread's alone, which adds its lines up in order. The fewer pieces, the more synapses find
    // their inputs in a cache.
    const size_t most = std::min(most_pieces, 4 * team.threads());
    const std::vector<size_t> ends =
        cut(rows, sweep.rows, pieces_for(rows.starts[sweep.rows], job.columns * sweep.pixels * lines, most));
    team.run(ends.size() - 1, [&](size_t range) {
        for (size_t line = 0; line < lines; line++) {
            DotsOf<Real> part = at_line(job, sweep, line);
            for (size_t pixel = 0; pixel < sweep.pixels; pixel += part.pixels) {
                part.pixels = std::min(pixels_at_once, sweep.pixels - pixel);
                kernel(rows, part, ends[range], ends[range + 1]);
                part.x += part.pixels * part.x_pixel;
                part.y += part.pixels * part.y_pixel;
            }
        }
    });
}

template void sum_all(const Team&, SumKernel<float>, const SynapseRows&, const SumOf<float>&, const Sweep&);
template void sum_all(const Team&, SumKernel<double>, const SynapseRows&, const SumOf<double>&, const Sweep&);
template void add_all_dots(const Team&, DotsKernel<float>, const SynapseRows&, const DotsOf<float>&, const Sweep&);
template void add_all_dots(const Team&, DotsKernel<double>, const SynapseRows&, const DotsOf<double>&, const Sweep&);

}  // namespace sparbor
