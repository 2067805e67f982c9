// A constant: numbers of any type and shape, as a value has them.
#include <algorithm>

#include "encodings/encoding.h"

namespace sparbor {
namespace {

void check_array(LayerCheck& check) {
    const auto values = check.layer().parts.find("values");
    check(values != check.layer().parts.end(), "it has no values");
    const Tensor& tensor = check.part("values", values->second.type);
    check(tensor.type != Number::u16, "its values are u16, which no value is");
    check(tensor.count() > 0, "it has not one value");
    const auto* bytes = tensor.as<uint8_t>();
    check(tensor.type != Number::boolean ||
              std::all_of(bytes, bytes + tensor.size, [](uint8_t byte) { return byte <= 1; }),
          "a value is neither true nor false");
}

}  // namespace

const Encoding array{LayerKind::array, "array", nullptr, WeightType::floats, check_array};

}  // namespace sparbor
