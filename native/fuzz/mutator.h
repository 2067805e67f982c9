// Changes of a model file that a loader cannot refuse at once for a checksum or an offset.
#pragma once

#include <random>

#include "model_parts.h"

namespace sparbor::fuzz {

// libFuzzer's own change of `size` bytes that may become up to `most`; returns how many there are then.
using ChangeBytes = size_t (*)(uint8_t* data, size_t size, size_t most);

// Changes one part: a place of the graph, its text, a tensor's numbers, its size or its type.
void change(ModelParts& parts, std::minstd_rand& random, ChangeBytes change_bytes);

}  // namespace sparbor::fuzz
