#include "onnxruntime/packed_layer.h"

#include <algorithm>
#include <numeric>

#include "kernels/dispatch.h"

namespace sparbor {
namespace {

constexpr const char* how_packed = "pack the original file again, by `sparbor onnx pack`";

std::string text_of(const PackedLayer::Dimensions& dimensions) {
    std::string text;
    for (const int64_t each : dimensions) text += (text.empty() ? "" : ", ") + std::to_string(each);
    return "(" + text + ")";
}

}  // namespace

PackedLayer::PackedLayer(const uint8_t* bytes, size_t size, Over over, size_t threads)
    : over_(over), program_(read_program(bytes, size)),
      engine_(program_, chosen_kernel_set(), threads, false, Threads::callers) {
    check_ports();
}

// One input and one output of floats, of as many items or rows as there are.
void PackedLayer::check_ports() const {
    bool fits = program_.inputs.size() == 1 && program_.outputs.size() == 1 && program_.states.empty() &&
                input().type == Number::f32 && output().type == Number::f32;
    fits = fits && !input().shape.empty() && input().shape[0].named() == 0;
    fits = fits && !output().shape.empty() && output().shape[0].named() == 0;
    switch (over_) {
        case Over::rows:
            fits = fits && input().shape.size() == 2 && output().shape.size() == 2 && input().shape[1].is_number() &&
                   output().shape[1].is_number();
            break;
        case Over::items: fits = fits && input().shape.size() >= 3 && output().shape.size() == input().shape.size();
    }
    if (!fits) throw Refused("the packed layer is none that this operator computes", how_packed);
}

void PackedLayer::refuse(const Dimensions& x) const {
    const char* const taken = over_ == Over::rows ? ", any dimensions in place of the first" : "";
    throw Refused("the packed layer takes an input of shape " + program_.text_of_shape(program_.inputs[0].value) +
                      taken + ", and this one has " + text_of(x),
                  how_packed);
}

// Of a call; 1 for an empty batch, of which nothing is computed.
Sizes PackedLayer::sizes_of(const Dimensions& x) const {
    Sizes sizes(program_.size_names.size(), 1);
    if (over_ == Over::rows) {
        if (x.empty() || static_cast<uint64_t>(x.back()) != input().shape[1].at(sizes)) refuse(x);
        sizes[0] = std::accumulate(x.begin(), x.end() - 1, uint64_t{1}, std::multiplies<>());
    } else {
        if (x.size() != input().shape.size()) refuse(x);
        for (size_t i = 0; i < x.size(); i++) {
            const int64_t named = input().shape[i].named();
            if (named >= 0) sizes[static_cast<size_t>(named)] = static_cast<uint64_t>(x[i]);
            else if (static_cast<uint64_t>(x[i]) != input().shape[i].at(sizes)) refuse(x);
        }
    }
    if (sizes[0] == 0) sizes[0] = 1;
    return sizes;
}

PackedLayer::Dimensions PackedLayer::output_of(const Dimensions& x, const Sizes& sizes) const {
    Dimensions y(x);
    if (over_ == Over::rows) y.back() = static_cast<int64_t>(output().shape[1].at(sizes));
    else
        for (size_t i = 1; i < y.size(); i++) y[i] = static_cast<int64_t>(output().shape[i].at(sizes));
    return y;
}

void PackedLayer::run(const Dimensions& shape, const float* x, const Place& place, Workers* workers) {
    const Sizes sizes = sizes_of(shape);
    const Dimensions y = output_of(shape, sizes);
    float* const to = place(y);
    if (std::find(y.begin(), y.end(), 0) != y.end()) return;
    const Given given{x};
    void* const outputs[] = {to};
    engine_.run(engine_.prepare(sizes), &given, outputs, workers);
}

}  // namespace sparbor
