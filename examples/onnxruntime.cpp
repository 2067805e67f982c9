// Runs a packed ONNX model in ONNX Runtime from C++: one input of floats, filled with ones, and one output.
//
//     c++ -std=c++17 onnxruntime.cpp -I$HEADERS -lonnxruntime -o run
//     ./run MODEL.onnx "$(python -c 'from sparbor.onnxruntime import library_path; print(library_path())')"
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <numeric>
#include <vector>

int main(int count, char** given) try {
    if (count != 3) return std::fprintf(stderr, "usage: %s MODEL.onnx LIBRARY\n", given[0]), 2;
    Ort::Env environment;
    Ort::SessionOptions options;
    options.RegisterCustomOpsLibrary(given[2]);  // all that a packed model needs
    Ort::Session session(environment, given[1], options);

    std::vector<int64_t> shape = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
    for (int64_t& size : shape) size = std::max<int64_t>(size, 1);  // of any size
    std::vector<float> ones(std::accumulate(shape.begin(), shape.end(), size_t{1}, std::multiplies<>()), 1.0f);
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const auto x = Ort::Value::CreateTensor<float>(memory, ones.data(), ones.size(), shape.data(), shape.size());

    Ort::AllocatorWithDefaultOptions allocator;
    const auto x_name = session.GetInputNameAllocated(0, allocator), y_name = session.GetOutputNameAllocated(0, allocator);
    const char *const x_names[] = {x_name.get()}, *const y_names[] = {y_name.get()};
    const auto y = session.Run(Ort::RunOptions(), x_names, &x, 1, y_names, 1);
    const float* const numbers = y[0].GetTensorData<float>();
    for (size_t i = 0; i < y[0].GetTensorTypeAndShapeInfo().GetElementCount(); i++) std::printf("%.9g\n", numbers[i]);
    return 0;
} catch (const Ort::Exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
}
