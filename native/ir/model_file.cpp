// The container: safetensors' header, the graph's and the tensors' checksums. docs/format.md describes the bytes.
#include <algorithm>
#include <cstring>

#include "ir/crc32.h"
#include "ir/json.h"
#include "ir/operator.h"

namespace sparbor {
namespace {

constexpr uint64_t largest_header = 1 << 24;

std::string tensor_named(const std::string& name) { return "tensor " + in_quotes(name); }

bool are_counts(const Json* numbers) {
    return numbers && numbers->is_array() && std::all_of(numbers->begin(), numbers->end(), is_count);
}

Number read_type(const std::string& name, const Json* entry) {
    constexpr std::pair<const char*, Number> names[] = {
        {"F32", Number::f32}, {"U16", Number::u16}, {"U8", Number::u8},      {"I8", Number::i8},
        {"I32", Number::i32}, {"I64", Number::i64}, {"BOOL", Number::boolean}};
    for (const auto& [text, type] : names)
        if (entry && *entry == text) return type;
    throw Refused(tensor_named(name) + " has the unknown type " + shown(entry));
}

Tensor read_tensor(const std::string& name, const Json& entry, uint64_t base, uint64_t size) {
    require(entry.is_object(), tensor_named(name) + " is malformed");
    const Json *shape = member(entry, "shape"), *offsets = member(entry, "data_offsets");
    require(are_counts(shape) && are_counts(offsets) && offsets->size() == 2 &&
                shape->size() <= most_dimensions,
            tensor_named(name) + " is malformed");
    Tensor tensor{};
    tensor.type = read_type(name, member(entry, "dtype"));
    tensor.shape = shape->get<Shape>();
    Shape bytes = tensor.shape;
    bytes.push_back(bytes_of(tensor.type));
    const uint64_t begin = as_count((*offsets)[0]), end = as_count((*offsets)[1]);
    const auto wanted = product(bytes, size);
    require(wanted && begin <= end && end <= size && end - begin == *wanted,
            tensor_named(name) + " of shape " + shown(*shape) + " has not the bytes that it needs");
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
    const bool strings =
        metadata && metadata->is_object() &&
        std::all_of(metadata->begin(), metadata->end(), [](const Json& each) { return each.is_string(); });
    require(!metadata || strings, "the metadata are not strings");
    const Json* entry = metadata ? member(*metadata, "sparbor") : nullptr;
    require(entry, "this is not a Sparbor model: its metadata has no graph");
    const auto& stored = entry->get_ref<const std::string&>();
    require(stored.size() >= 8, "the graph does not match its checksum");
    char digits[9];
    const uint32_t sum = crc32(reinterpret_cast<const uint8_t*>(stored.data()) + 8, stored.size() - 8);
    std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(sum));
    require(stored.compare(0, 8, digits) == 0, "the graph does not match its checksum");
    return stored.substr(8);
}

uint64_t read_version(const Json& graph) {
    const Json* found = member(graph, "version");
    require(found && is_count(*found) && as_count(*found) >= 1, "the file has version " + shown(found));
    if (as_count(*found) > newest_version)
        throw Refused("the file has version " + shown(*found) + ", this Sparbor reads up to " +
                          std::to_string(newest_version), "upgrade sparbor");
    return as_count(*found);
}

// Moves the tensor to its layer, its bytes read and compared with their checksum.
void place(const std::string& name, Tensor tensor, const Json& sums, const Source& source, Program& program) {
    const size_t slash = name.rfind('/');
    const auto layer = program.layers.find(slash == std::string::npos ? "" : name.substr(0, slash));
    require(layer != program.layers.end(), tensor_named(name) + " belongs to no layer");
    const Json* sum = member(sums, name);
    require(sum, tensor_named(name) + " has no checksum");
    tensor.data = AlignedArray<uint8_t>::unset(tensor.size);
    source.read(tensor.begin, tensor.size, tensor.data.data());
    const bool matches = is_count(*sum) && crc32(tensor.data.data(), tensor.size) == as_count(*sum);
    require(matches, tensor_named(name) + " does not match its checksum");
    layer->second.parts.emplace(slash == std::string::npos ? name : name.substr(slash + 1), std::move(tensor));
}

void read_layers(const Json& graph, std::map<std::string, Tensor> tensors, const Source& source, Program& program) {
    const Json &layers = graph.at("layers"), &sums = graph.at("crc32");
    require(layers.is_object() && sums.is_object(), "the graph is malformed: its layers or checksums are no object");
    for (const auto& [name, entry] : layers.items()) program.layers.emplace(name, read_layer(name, entry));
    for (auto& [name, tensor] : tensors) place(name, std::move(tensor), sums, source, program);
    for (auto& [name, layer] : program.layers) check_layer(layer);
    for (Operation& operation : program.operations) {
        if (!operation.layer_name) continue;
        const auto found = program.layers.find(*operation.layer_name);
        require(found != program.layers.end(), "operation " + in_quotes(operation.type->name) + " has the layer " +
                                                   in_quotes(*operation.layer_name) + ", which there is not");
        operation.layer = &found->second;
    }
}

// Each layer is looked through again for each operation that uses it.
void check_uses(const Program& program) {
    uint64_t bytes = 0;
    const uint64_t most = program.allowed_bytes();
    for (const Operation& operation : program.operations) {
        if (operation.layer) bytes += operation.layer->bytes();
        if (bytes > most)  // the text is made for this one alone: it looks at all layers
            throw Refused("its operations use layers of " + with_commas(bytes) + " bytes, more than weights of " +
                          with_commas(program.weight_bytes()) + " bytes allow for");
    }
}

Program read(const Source& source, uint64_t length) {
    std::string characters(length, '\0');
    source.read(8, length, reinterpret_cast<uint8_t*>(characters.data()));
    const Json header = parse_object(characters, "the header");
    std::map<std::string, Tensor> tensors = read_tensors(header, 8 + length, source.size());
    std::string text = graph_text(header);
    Json graph = parse_object(text, "the graph");
    if (read_version(graph) < newest_version) {
        graph = from_older_version(std::move(graph));
        text = graph.dump();
    }
    Program program = program_of_graph(graph);
    program.graph = std::move(text);
    read_layers(graph, std::move(tensors), source, program);
    check_uses(program);
    check_operations(program, program.shapes_at(program.known_sizes));
    return program;
}

}  // namespace

Program read_program(const uint8_t* data, size_t size) { return read_program(Memory(data, size)); }

Program read_program(const Source& source) {
    const uint64_t size = source.size();
    require(size >= 8, "it has " + std::to_string(size) + " bytes, fewer than a header");
    uint8_t first[8];
    source.read(0, sizeof first, first);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | first[i];
    require(length <= std::min<uint64_t>(size - 8, largest_header),
            "the header claims " + std::to_string(length) + " bytes, the file has " + std::to_string(size));
    try {
        return read(source, length);
    } catch (const Json::out_of_range&) {  // a member that is not there
        throw Refused("the graph is malformed: it lacks a part", "write the file again");
    } catch (const Json::exception& error) {
        throw Refused(std::string("the graph is malformed (") + error.what() + ")", "write the file again");
    }
}

}  // namespace sparbor
