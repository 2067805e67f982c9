// Sparse layers of quads as kernels want them.
#pragma once

#include "encodings/slots.h"
#include "ops/outputs.h"
#include "ops/sparse_matrix.h"

namespace sparbor {

class QuadMatrix {
public:
    QuadMatrix(const Layer& layer, float clamp_min)
        : blocks_(layer), scale_(padded(layer.data<float>("scale"), layer.outputs, neuron_block, 1.0f)),
          bias_(padded(layer.data<float>("bias"), layer.outputs, neuron_block, 0.0f)),
          sums_(round_up(layer.outputs, neuron_block)),
          layer_{blocks_.groups.data(), blocks_.runs.data(), layer.data<uint16_t>("branches"),
                 layer.data<uint8_t>("indices"), layer.data<int8_t>("weights"), scale_.data(), bias_.data(),
                 sums_.data(), clamp_min} {
        for_each_unit(layer, [&](uint64_t quad, uint64_t group, uint64_t) {
            for (size_t i = 0; i < quad_bytes; i++)
                sums_[group * neuron_block + i / quad_synapses] += layer_.weights[quad * quad_bytes + i];
        });
    }
    QuadMatrix(const QuadMatrix&) = delete;
    QuadMatrix& operator=(const QuadMatrix&) = delete;

    const QuadLayer& layer() const { return layer_; }
    const std::vector<int32_t>& sums() const { return sums_; }
    size_t groups() const { return blocks_.groups.size(); }
    size_t quads() const { return blocks_.units; }

private:
    Blocks blocks_;
    std::vector<float> scale_, bias_;
    std::vector<int32_t> sums_;
    QuadLayer layer_;
};

}  // namespace sparbor
