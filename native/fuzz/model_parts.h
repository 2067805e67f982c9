// A model file taken apart, so that one part can be changed, and put together again so that the loader reads that part
// instead of refusing a checksum.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ir/json.h"

namespace sparbor::fuzz {

using Bytes = std::vector<uint8_t>;

struct Tensor {
    Json dtype, shape;
    Bytes data;
};

struct ModelParts {
    std::map<std::string, Tensor> tensors;
    std::string graph;  // JSON, if nothing has happened to it
};

// Nothing if the file is so broken that it has no such parts.
std::optional<ModelParts> take_apart(const uint8_t* data, size_t size);

// A file with true offsets and checksums.
Bytes put_together(const ModelParts& parts);

}  // namespace sparbor::fuzz
