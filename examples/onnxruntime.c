/* Runs a packed ONNX model in ONNX Runtime from C: one input of floats, filled with ones, and one output.
 *
 *     cc onnxruntime.c -I$HEADERS -lonnxruntime -o run
 *     ./run MODEL.onnx "$(python -c 'from sparbor.onnxruntime import library_path; print(library_path())')"
 */
#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <stdlib.h>

static const OrtApi *ort;

static void check(OrtStatus *status) {
    if (!status) return;
    fprintf(stderr, "%s\n", ort->GetErrorMessage(status));
    exit(1);
}

int main(int count, char **given) {
    if (count != 3) return fprintf(stderr, "usage: %s MODEL.onnx LIBRARY\n", given[0]), 2;
    ort = OrtGetApiBase()->GetApi(17);
    if (!ort) return fprintf(stderr, "ONNX Runtime is older than 1.17\n"), 1;

    OrtEnv *environment;
    OrtSessionOptions *options;
    OrtSession *session;
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "example", &environment));
    check(ort->CreateSessionOptions(&options));
    check(ort->RegisterCustomOpsLibrary_V2(options, given[2])); /* all that a packed model needs */
    check(ort->CreateSession(environment, given[1], options, &session));

    OrtAllocator *allocator;
    OrtTypeInfo *type;
    const OrtTensorTypeAndShapeInfo *info;
    char *x_name, *y_name;
    int64_t shape[8];
    size_t rank, size = 1;
    check(ort->GetAllocatorWithDefaultOptions(&allocator));
    check(ort->SessionGetInputName(session, 0, allocator, &x_name));
    check(ort->SessionGetOutputName(session, 0, allocator, &y_name));
    check(ort->SessionGetInputTypeInfo(session, 0, &type));
    check(ort->CastTypeInfoToTensorInfo(type, &info));
    check(ort->GetDimensionsCount(info, &rank));
    if (rank > 8) return fprintf(stderr, "the input has %zu dimensions\n", rank), 1;
    check(ort->GetDimensions(info, shape, rank));
    for (size_t i = 0; i < rank; i++) {
        if (shape[i] < 1) shape[i] = 1; /* of any size */
        size *= (size_t)shape[i];
    }

    OrtMemoryInfo *memory;
    OrtValue *x, *y = NULL;
    OrtTensorTypeAndShapeInfo *result;
    float *ones = malloc(size * sizeof *ones), *numbers;
    for (size_t i = 0; i < size; i++) ones[i] = 1;
    check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    check(ort->CreateTensorWithDataAsOrtValue(memory, ones, size * sizeof *ones, shape, rank,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &x));
    check(ort->Run(session, NULL, (const char *const *)&x_name, (const OrtValue *const *)&x, 1,
                   (const char *const *)&y_name, 1, &y));
    check(ort->GetTensorTypeAndShape(y, &result));
    check(ort->GetTensorShapeElementCount(result, &size));
    check(ort->GetTensorMutableData(y, (void **)&numbers));
    for (size_t i = 0; i < size; i++) printf("%.9g\n", numbers[i]);
    ort->ReleaseSession(session); /* the end of the program releases the rest */
    return 0;
}
