#include "mutator.h"

#include <iterator>

namespace sparbor::fuzz {
namespace {

constexpr size_t room = 4096;  // bytes by which a part may grow

size_t below(std::minstd_rand& random, size_t end) { return random() % end; }

template <class Items>
auto& any_of(Items& items, std::minstd_rand& random) {
    return *std::next(std::begin(items), static_cast<ptrdiff_t>(below(random, std::size(items))));
}

template <class Container>
void change_bytes_of(Container& bytes, ChangeBytes change_bytes) {
    const size_t size = bytes.size();
    bytes.resize(size + room);
    bytes.resize(change_bytes(reinterpret_cast<uint8_t*>(bytes.data()), size, bytes.size()));
}

// Every value inside, the object itself excepted.
void collect(Json& value, std::vector<Json*>& all) {
    if (!value.is_structured()) return;
    for (Json& each : value) {
        all.push_back(&each);
        collect(each, all);
    }
}

Json some_number(const Json& old, std::minstd_rand& random) {
    static const Json numbers[] = {0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 64, 127, 128, 255, 256, 1000, 4096, 4097,
                                   65535, 65536, 1 << 20, 1 << 26, (1 << 26) + 1, INT64_C(1) << 31, INT64_C(1) << 32,
                                   INT64_C(1) << 53, INT64_MAX, UINT64_MAX, -1, -2, -65536, INT64_MIN, 0.5, -0.0, 1e-45,
                                   1e30, 1e308, -1e308, true, false, nullptr, "", "Infinity", "-Infinity"};
    if (!old.is_number_integer() || below(random, 4) == 0) return any_of(numbers, random);
    const auto value = old.get<uint64_t>();
    switch (below(random, 6)) {
        case 0: return value * 2;
        case 1: return value / 2;
        case 2: return value - 1;
        case 3: return below(random, 8);
        default: return value + 1;
    }
}

Json some_word(std::minstd_rand& random) {
    static const char* const words[] = {
        "linear", "convolution", "scale_shift", "layer_norm", "activation", "softmax", "add", "multiply", "matmul", "attention", "scale", "causal",
        "reshape", "permute", "slice", "expand", "concat", "max_pool", "average_pool", "adaptive_max_pool",
        "adaptive_average_pool", "relu", "clamp", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh",
        "hardswish", "hardsigmoid", "softplus", "sparse", "dense", "filters", "word16", "int8", "exact", "halves", "layer",
        "settings", "kernel", "epsilon", "axis", "order", "start", "step", "f32", "u8", "i64", "bool", "batch", "+",
        "*", "//", "input", "output", "states", "type", "shape", "subtract", "divide", "floor_divide", "remainder",
        "power", "minimum", "maximum", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
        "logical_and", "logical_or", "logical_xor", "logical_not", "where", "cast", "reduce_sum", "reduce_mean",
        "reduce_max", "reduce_min", "reduce_product", "reduce_l2", "argmax", "argmin", "cumulative_sum", "constant",
        "range", "take", "gather", "put", "embedding", "pad", "resize_nearest", "resize_linear", "resize_cubic", "rms_norm",
        "group_norm", "log_softmax", "exp", "log", "sin", "mish", "table", "array", "values", "rows", "axes", "before",
        "after", "groups", "step_down", "step_across", "centers", "corners", "i8", "i32", "lstm", "gru", "rnn", "reverse",
        "quantize", "dequantize", "quantized_map", "quantized_concat", "quantized_add", "quantized_scale",
        "quantized_convolution",
        "quantized_max_pool", "quantized_average_pool", "zero"};
    return any_of(words, random);
}

void change_place(Json& graph, std::minstd_rand& random) {
    std::vector<Json*> all;
    collect(graph, all);
    if (all.empty()) return;
    Json& place = *any_of(all, random);
    const size_t how = below(random, 8);
    if (how == 0) {
        place = Json(*any_of(all, random));
    } else if (how == 1 && place.is_array()) {
        place.push_back(place.empty() ? Json(0) : Json(any_of(place, random)));
    } else if (how == 2 && place.is_structured() && !place.empty()) {
        place.erase(std::next(place.begin(), static_cast<ptrdiff_t>(below(random, place.size()))));
    } else if (how == 3 && place.is_array() && !place.empty()) {
        std::swap(place.front(), any_of(place, random));
    } else if (place.is_string()) {
        place = some_word(random);
    } else if (!place.is_structured() || how == 4) {
        place = some_number(place, random);
    }
}

void change_graph(std::string& graph, std::minstd_rand& random, ChangeBytes change_bytes) {
    if (below(random, 16) == 0) return change_bytes_of(graph, change_bytes);
    try {
        Json parsed = parse_object(graph, "the graph");
        change_place(parsed, random);
        graph = parsed.dump(-1, ' ', false, Json::error_handler_t::replace);
    } catch (const std::exception&) {
        change_bytes_of(graph, change_bytes);
    }
}

// As many numbers as one of the tensor's dimensions then says.
void resize(Tensor& tensor, std::minstd_rand& random) {
    if (!tensor.shape.is_array() || tensor.shape.empty()) return;
    Json& dimension = any_of(tensor.shape, random);
    if (!dimension.is_number_unsigned()) return;
    const auto old = dimension.get<uint64_t>(), made = old + below(random, 5);
    if (old == 0 || tensor.data.size() / old * made > tensor.data.size() + room) return;
    const uint64_t now = made < 2 ? 0 : made - 2;
    tensor.data.resize(tensor.data.size() / old * now, 1);
    dimension = now;
}

// One number, or the same change of a number and its neighbour, which may keep a sum.
void change_numbers(Bytes& data, std::minstd_rand& random) {
    static const uint8_t values[] = {0, 1, 2, 15, 16, 31, 32, 63, 64, 127, 128, 255};
    if (data.size() < 4) return;
    const size_t at = below(random, data.size() / 2 - 1) * 2;
    switch (below(random, 4)) {
        case 0: data[at]++, data[at + 2]--; return;
        case 1: std::swap(data[at], data[at + 2]), std::swap(data[at + 1], data[at + 3]); return;
        case 2: data[at] = any_of(values, random); return;
        default: data[at + 1] = any_of(values, random); return;
    }
}

void change_tensor(Tensor& tensor, std::minstd_rand& random, ChangeBytes change_bytes) {
    static const Json types[] = {"F32", "U16", "U8", "F16", "I8", "I32", "I64", "BOOL"};
    switch (below(random, 16)) {
        case 0: return resize(tensor, random);
        case 1: tensor.dtype = any_of(types, random); return;
        case 2: tensor.shape = Json::array({tensor.data.size() / (1 + below(random, 4))}); return;
        case 3: break;
        default: return change_numbers(tensor.data, random);
    }
    const size_t size = tensor.data.size();
    change_bytes_of(tensor.data, change_bytes);
    tensor.data.resize(size);  // what its shape says
}

}  // namespace

void change(ModelParts& parts, std::minstd_rand& random, ChangeBytes change_bytes) {
    if (parts.tensors.empty() || below(random, 2)) return change_graph(parts.graph, random, change_bytes);
    if (below(random, 16) == 0) {
        parts.tensors.erase(std::next(parts.tensors.begin(), static_cast<ptrdiff_t>(below(random, parts.tensors.size()))));
        return;
    }
    change_tensor(any_of(parts.tensors, random).second, random, change_bytes);
}

}  // namespace sparbor::fuzz
