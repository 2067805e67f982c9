// A scale and a shift for each feature or channel.
#include "encodings/encoding.h"

namespace sparbor {
namespace {

void check_both(LayerCheck& check) {
    const Tensor& scale = check.part("scale", Number::f32);
    check(scale.shape.size() == 1, "scale is not one row of numbers");
    const Tensor& shift = check.part("shift", Number::f32, &scale.shape);
    check(all_finite(scale), "scale holds NaN or infinity");
    check(all_finite(shift), "shift holds NaN or infinity");
}

}  // namespace

const Encoding scale_shift{LayerKind::scale_shift, "scale_shift", nullptr, WeightType::floats, check_both};

}  // namespace sparbor
