#include "dense_convolution.h"

#include "convolution.h"
#include "depthwise.h"
#include "winograd.h"

namespace sparbor {
namespace {

// The direct sum, its lanes pixels or outputs.
std::unique_ptr<Step> make_direct(const KernelSet& kernels, Value x, Value y, const Geometry& geometry,
                                  const FilterArrays& arrays, bool relu, std::optional<Activation> activation) {
    const Lanes lanes = best_lanes(geometry, kernels);
    const bool by_outputs = lanes == Lanes::outputs;
    const bool one_by_one = geometry.out_channels == geometry.groups;
    const size_t block = by_outputs ? kernels.outputs->block : one_by_one ? 1 : kernels.columns->block;
    auto matrix = std::make_unique<DenseMatrix>(geometry, block, arrays.weights, arrays.halves, arrays.scale,
                                                arrays.bias, relu);
    const size_t floats = by_outputs        ? kernels.outputs->results
                          : arrays.halves   ? matrix->block_weights() + branch_size
                                            : 0;
    return std::make_unique<DenseConvolution>(x, y, geometry, lanes, std::move(matrix), floats, activation);
}

}  // namespace

std::unique_ptr<Step> make_dense_convolution(const KernelSet& kernels, Value x, Value y, const Geometry& geometry,
                                             const FilterArrays& arrays, bool relu,
                                             std::optional<Activation> activation) {
    if (WinogradConvolution::pays(geometry))
        return std::make_unique<WinogradConvolution>(kernels, x, y, geometry, arrays.weights, arrays.halves,
                                                     arrays.scale, arrays.bias, relu, activation);
    if (const DepthwiseKernel kernel = kernels.find_depthwise(geometry))
        return std::make_unique<DepthwiseConvolution>(x, y, geometry, kernel, arrays.weights, arrays.halves,
                                                      arrays.scale, arrays.bias, relu, activation);
    return make_direct(kernels, x, y, geometry, arrays, relu, activation);
}

}  // namespace sparbor
