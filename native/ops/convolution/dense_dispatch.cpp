#include "ops/convolution/dense_dispatch.h"

#include <algorithm>

#include "ops/convolution/dense_convolution.h"
#include "ops/convolution/depthwise.h"
#include "ops/convolution/winograd.h"

namespace sparbor {
namespace {

// The direct sum, its lanes pixels or outputs.
std::unique_ptr<Step> make_direct(const KernelSet& kernels, Value x, Value y, const Geometry& geometry,
                                  const FilterArrays& arrays, const Ending& ending) {
    const Lanes lanes = best_lanes(geometry, kernels);
    const bool by_outputs = lanes == Lanes::outputs;
    const bool one_by_one = geometry.out_channels == geometry.groups;
    const size_t block = by_outputs ? kernels.outputs->block : one_by_one ? 1 : kernels.columns->block;
    auto matrix = std::make_unique<DenseMatrix>(geometry, block, arrays, ending.clamp_min);
    const size_t floats = by_outputs        ? kernels.outputs->results
                          : arrays.halves   ? matrix->block_weights() + branch_size
                                            : 0;
    return std::make_unique<DenseConvolution>(x, y, geometry, lanes, std::move(matrix), floats,
                                              ending.activation);
}

}  // namespace

bool takes_tiles(const Geometry& g) {
    const bool possible = g.kernel_h == 3 && g.kernel_w == 3 && g.stride_h == 1 && g.stride_w == 1 &&
                          g.dilation_h == 1 && g.dilation_w == 1 && g.upsample_h == 1 && g.upsample_w == 1 &&
                          g.groups == 1;
    constexpr int64_t fewest_channels = 16, fewest_pixels = 36, fewest_inputs = 2048;  // that pay, as measured
    const int64_t pixels = g.out_height * g.out_width;
    return possible && std::min(g.channels, g.out_channels) >= fewest_channels && pixels >= fewest_pixels &&
           g.channels * pixels >= fewest_inputs;
}

std::unique_ptr<Step> make_dense_convolution(const KernelSet& kernels, Value x, Value y, const Geometry& geometry,
                                             const FilterArrays& arrays, const Ending& ending) {
    if (takes_tiles(geometry))
        return std::make_unique<WinogradConvolution>(kernels, x, y, geometry, arrays, ending);
    if (const DepthwiseKernel kernel = kernels.find_depthwise(geometry))
        return std::make_unique<DepthwiseConvolution>(x, y, geometry, kernel, arrays, ending);
    return make_direct(kernels, x, y, geometry, arrays, ending);
}

}  // namespace sparbor
