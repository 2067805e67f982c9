// The container: safetensors' header, the graph's and the tensors' checksums.
#include <algorithm>
#include <cstring>

#include "crc32.h"
#include "json.h"
#include "memory.h"
#include "rules.h"

namespace sparbor::model {
namespace {

constexpr uint64_t largest_header = 1 << 24;
constexpr uint64_t version = 2;

std::string tensor_named(const std::string& name) { return "tensor '" + name + "'"; }

bool are_counts(const Json* numbers) {
    return numbers && numbers->is_array() && std::all_of(numbers->begin(), numbers->end(), is_count);
}

Tensor read_tensor(const std::string& name, const Json& entry, uint64_t base, uint64_t size) {
    require(entry.is_object(), tensor_named(name) + " is malformed");
    const Json *dtype = member(entry, "dtype"), *shape = member(entry, "shape");
    const Json* offsets = member(entry, "data_offsets");
    require(are_counts(shape) && are_counts(offsets) && offsets->size() == 2 && shape->size() <= 3,
            tensor_named(name) + " is malformed");
    Tensor tensor{};
    const bool f32 = dtype && *dtype == "F32", u16 = dtype && *dtype == "U16", u8 = dtype && *dtype == "U8";
    require(f32 || u16 || u8, tensor_named(name) + " has an unknown type");
    tensor.type = f32 ? Number::f32 : u16 ? Number::u16 : Number::u8;
    tensor.shape = shape->get<Shape>();
    Shape bytes = tensor.shape;
    bytes.push_back(f32 ? 4 : u16 ? 2 : 1);
    const uint64_t begin = as_count((*offsets)[0]), end = as_count((*offsets)[1]);
    const auto wanted = product(bytes, size);
    require(wanted && begin <= end && end <= size && end - begin == *wanted,
            tensor_named(name) + " has not the bytes that its shape needs");
    tensor.begin = base + begin;
    tensor.size = *wanted;
    return tensor;
}

// They cover the file from `at` on, without gaps.
void check_coverage(const std::map<std::string, Tensor>& tensors, uint64_t at, uint64_t size) {
    std::vector<std::pair<uint64_t, uint64_t>> places;
    for (const auto& [name, tensor] : tensors) places.emplace_back(tensor.begin, tensor.size);
    std::sort(places.begin(), places.end());
    for (const auto& [begin, length] : places) {
        require(begin == at, "a tensor begins at byte " + std::to_string(begin) + ", not " + std::to_string(at));
        at += length;
    }
    require(at == size, "the tensors end at byte " + std::to_string(at) + ", the file at " + std::to_string(size));
}

std::map<std::string, Tensor> read_tensors(const Json& header, uint64_t base, uint64_t size) {
    std::map<std::string, Tensor> tensors;
    for (const auto& [name, entry] : header.items())
        if (name != "__metadata__") tensors.emplace(name, read_tensor(name, entry, base, size));
    check_coverage(tensors, base, size);
    return tensors;
}

std::string graph_text(const Json& header) {
    const Json* metadata = member(header, "__metadata__");
    const Json* entry = metadata && metadata->is_object() ? member(*metadata, "sparbor") : nullptr;
    require(entry && entry->is_string(), "this is not a Sparbor model: its metadata has no graph");
    const auto& stored = entry->get_ref<const std::string&>();
    require(stored.size() >= 8, "the graph does not match its checksum");
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x",
                  static_cast<unsigned>(crc32(reinterpret_cast<const uint8_t*>(stored.data()) + 8, stored.size() - 8)));
    require(stored.compare(0, 8, digits) == 0, "the graph does not match its checksum");
    return stored.substr(8);
}

uint64_t checked_version(const Json& graph) {
    const Json* found = member(graph, "version");
    require(found && is_count(*found) && as_count(*found) >= 1, "the file has no version that can be");
    if (as_count(*found) > version)
        throw Refused("the file has version " + shown(*found) + ", this Sparbor reads up to " +
                      std::to_string(version) + ": upgrade sparbor");
    return as_count(*found);
}

// Moves the tensor to its layer, its bytes copied and compared with their checksum.
void place(const std::string& name, Tensor tensor, const Json& sums, const uint8_t* data, Program& program) {
    const size_t slash = name.rfind('/');
    const auto layer = program.layers.find(slash == std::string::npos ? "" : name.substr(0, slash));
    require(layer != program.layers.end(), tensor_named(name) + " belongs to no layer");
    const Json* sum = member(sums, name);
    require(sum && is_count(*sum), tensor_named(name) + " has no checksum");
    require(crc32(data + tensor.begin, tensor.size) == as_count(*sum), tensor_named(name) + " does not match its checksum");
    tensor.data = AlignedArray<uint8_t>(tensor.size);
    if (tensor.size > 0) std::memcpy(tensor.data.data(), data + tensor.begin, tensor.size);
    layer->second.parts.emplace(slash == std::string::npos ? name : name.substr(slash + 1), std::move(tensor));
}

Program build(const Json& graph, std::map<std::string, Tensor> tensors, const uint8_t* data) {
    const uint64_t found = checked_version(graph);
    Program program = graph_from_json(graph);
    const Json& layers = graph.at("layers");
    require(layers.is_object() && graph.at("crc32").is_object(), "the graph's layers or checksums are malformed");
    for (const auto& [name, entry] : layers.items()) program.layers.emplace(name, layer_from_json(name, entry));
    for (auto& [name, tensor] : tensors) place(name, std::move(tensor), graph.at("crc32"), data, program);
    for (auto& [name, layer] : program.layers) check_layer(name, layer);
    for (const Operation& operation : program.operations)
        require(!operation.layer || program.layers.count(*operation.layer) > 0,
                "operation '" + operation.kind + "' has a layer that there is not");
    if (found == 1) use_rows_only(program);
    check_uses(program);
    for (const Operation& operation : program.operations) check_shapes(operation, program);
    return program;
}

}  // namespace

Program read_program(const uint8_t* data, size_t size) {
    require(size >= 8, "it has " + std::to_string(size) + " bytes, fewer than a header");
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | data[i];
    require(length <= std::min<uint64_t>(size - 8, largest_header),
            "the header claims " + std::to_string(length) + " bytes, the file has " + std::to_string(size));
    try {
        const Json header = parse_object({reinterpret_cast<const char*>(data) + 8, length}, "the header");
        std::map<std::string, Tensor> tensors = read_tensors(header, 8 + length, size);
        return build(parse_object(graph_text(header), "the graph"), std::move(tensors), data);
    } catch (const Json::exception& error) {
        throw Refused(std::string("the graph is malformed (") + error.what() + "); write the file again");
    }
}

}  // namespace sparbor::model
