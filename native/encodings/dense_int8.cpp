// All weights as whole numbers from -127 to 127, times their output's scale: of linear layers row by row, of
// convolutions as filters whose channels come last, in the order in which pixels lie.
#include "encodings/encoding.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace sparbor {
namespace {

uint64_t places(const Layer& layer) { return layer.outputs * layer.fan_in; }

void check_weights(LayerCheck& check, const Tensor& weights) {
    check.bias();
    check.scale();
    check.symmetric(weights);
    const uint64_t fan_in = check.layer().fan_in;
    const auto* row = weights.as<int8_t>();
    uint64_t largest = 0;
    for (uint64_t output = 0; output < check.layer().outputs; output++, row += fan_in)
        largest = std::max(largest, std::accumulate(row, row + fan_in, uint64_t{0}, [](uint64_t sum, int8_t weight) {
            return sum + static_cast<uint64_t>(std::abs(int{weight}));
        }));
    check.sums_of_bytes(largest);
}

void check_dense(LayerCheck& check) {
    const Shape stored{check.layer().outputs, check.layer().fan_in};
    check_weights(check, check.part("weights", Number::i8, &stored));
}

// By output, kernel row, kernel column and channel.
void check_filters(LayerCheck& check) {
    const Layer& layer = check.layer();
    const Tensor& weights = check.part("weights", Number::i8);
    const Shape& shape = weights.shape;
    check(shape.size() == 4 && shape[0] == layer.outputs &&
              product({shape[1], shape[2], shape[3]}, layer.fan_in) == layer.fan_in,
          "weights has shape " + to_text(shape) + ", not four dimensions of " + std::to_string(layer.outputs) +
              " outputs and a fan-in of " + std::to_string(layer.fan_in));
    check_weights(check, weights);
}

}  // namespace

const Encoding dense_int8{LayerKind::dense, "dense", "int8", WeightType::floats, check_dense, places};
const Encoding filters_int8{LayerKind::filters, "filters", "int8", WeightType::floats, check_filters, places};

}  // namespace sparbor
