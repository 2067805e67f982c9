#include "ops/convolution/dense_dispatch.h"

#include <algorithm>

#include "ops/convolution/dense_convolution.h"
#include "ops/convolution/depthwise.h"
#include "ops/convolution/winograd.h"

namespace sparbor {
namespace {

// In which ways a layer may have been laid out; one is the sparse one's.
enum Way : size_t { pixels = 1, outputs = 2, tiles = 3 };

// The direct sum, its lanes pixels or outputs.
std::unique_ptr<Step> make_direct(const Placement& at, const Layer& layer, const Geometry& geometry,
                                  const Ending& ending) {
    const KernelSet& kernels = at.kernels;
    const Lanes lanes = best_lanes(geometry, kernels);
    const bool by_outputs = lanes == Lanes::outputs;
    const bool one_by_one = geometry.out_channels == geometry.groups;
    const size_t block = by_outputs ? kernels.outputs->block : one_by_one ? 1 : kernels.columns->block;
    const auto key = static_cast<uint64_t>(geometry.out_channels);
    const auto matrix = at.layer.get<DenseMatrix>(by_outputs ? outputs : pixels, key, [&] {
        return std::make_shared<const DenseMatrix>(geometry, block, FilterArrays(layer, geometry), ending.clamp_min);
    });
    const bool decoded = matrix->blocks().weights.type == WeightType::halves;
    const size_t floats = by_outputs ? kernels.outputs->results : decoded ? matrix->block_weights() + branch_size : 0;
    return std::make_unique<DenseConvolution>(planes_of(at.x[0]), planes_of(at.y), geometry, lanes, matrix, floats,
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

std::unique_ptr<Step> make_dense_convolution(const Placement& at, const Layer& layer, const Geometry& geometry,
                                             const Ending& ending) {
    const Matrix x = planes_of(at.x[0]), y = planes_of(at.y);
    if (takes_tiles(geometry)) {
        const auto weights = at.layer.get<WinogradWeights>(tiles, static_cast<uint64_t>(geometry.out_channels), [&] {
            return std::make_shared<const WinogradWeights>(at.kernels.columns->block, geometry,
                                                           FilterArrays(layer, geometry));
        });
        return std::make_unique<WinogradConvolution>(x, y, geometry, weights, ending);
    }
    if (const DepthwiseKernel kernel = at.kernels.find_depthwise(geometry))
        return std::make_unique<DepthwiseConvolution>(x, y, geometry, kernel, FilterArrays(layer, geometry), ending);
    return make_direct(at, layer, geometry, ending);
}

}  // namespace sparbor
