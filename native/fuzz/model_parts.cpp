#include "model_parts.h"

#include <cstdio>

#include "ir/crc32.h"

namespace sparbor::fuzz {
namespace {

std::string checksummed(const std::string& text) {
    char digits[9];
    const uint32_t sum = crc32(reinterpret_cast<const uint8_t*>(text.data()), text.size());
    std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(sum));
    return digits + text;
}

Tensor tensor_of(const Json& entry, const uint8_t* data, size_t size) {
    const auto begin = entry.at("data_offsets").at(0).get<uint64_t>();
    const auto end = entry.at("data_offsets").at(1).get<uint64_t>();
    if (begin > end || end > size) throw Refused("a tensor lies beyond the file");
    return {entry.at("dtype"), entry.at("shape"), {data + begin, data + end}};
}

ModelParts parts_of(const uint8_t* data, size_t size) {
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | data[i];
    if (length > size - 8) throw Refused("the header is longer than the file");
    const uint8_t* const tensors = data + 8 + length;
    const Json header = parse_object({reinterpret_cast<const char*>(data) + 8, length}, "the header");
    ModelParts parts;
    for (const auto& [name, entry] : header.items()) {
        if (name == "__metadata__") parts.graph = entry.at("sparbor").get<std::string>().substr(8);
        else parts.tensors[name] = tensor_of(entry, tensors, size - 8 - length);
    }
    return parts;
}

// The graph with the tensors' checksums, if it still is one.
std::string graph_with_checksums(const ModelParts& parts) {
    try {
        Json graph = parse_object(parts.graph, "the graph");
        for (const auto& [name, tensor] : parts.tensors)
            graph["crc32"][name] = crc32(tensor.data.data(), tensor.data.size());
        return graph.dump(-1, ' ', false, Json::error_handler_t::replace);
    } catch (const std::exception&) {
        return parts.graph;
    }
}

}  // namespace

std::optional<ModelParts> take_apart(const uint8_t* data, size_t size) {
    try {
        if (size >= 8) return parts_of(data, size);
    } catch (const std::exception&) {
    }
    return std::nullopt;
}

Bytes put_together(const ModelParts& parts) {
    Json header;
    header["__metadata__"]["sparbor"] = checksummed(graph_with_checksums(parts));
    size_t at = 0;
    for (const auto& [name, tensor] : parts.tensors) {
        const size_t end = at + tensor.data.size();
        header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {at, end}}};
        at = end;
    }
    const std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
    Bytes file;
    for (int i = 0; i < 8; i++) file.push_back(static_cast<uint8_t>(text.size() >> 8 * i));
    file.insert(file.end(), text.begin(), text.end());
    for (const auto& [name, tensor] : parts.tensors) file.insert(file.end(), tensor.data.begin(), tensor.data.end());
    return file;
}

}  // namespace sparbor::fuzz
