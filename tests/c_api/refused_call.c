/* Calls a model of ids with right and wrong ones in turn: refused_call MODEL. The model has one input, i64 of shape
 * (batch, 5), and one output, f32. A call that is refused says why, and the next one is as if it had not been. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sparbor.h"

static sparbor_model *load(const char *path) {
    static char content[1 << 20], error[300];
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(content, 1, sizeof content, file) : 0;
    sparbor_model *model = sparbor_load(content, size, 2, error, sizeof error);
    if (file) fclose(file);
    if (!model) printf("%s\n", error);
    return model;
}

int main(int count, char **arguments) {
    int64_t ids[2][5] = {{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}};
    float first[400], y[400];
    char error[300] = "";
    sparbor_model *model = count == 2 ? load(arguments[1]) : NULL;
    sparbor_array input, output;
    int turn;
    if (!model) return EXIT_FAILURE;
    input = sparbor_input(model, 0);
    input.shape[0] = 2;
    input.data = ids;
    output = sparbor_output(model, 0);
    output.data = first;
    output.bytes = sizeof first;
    if (sparbor_run_arrays(model, NULL, &input, 1, &output, 1, error, sizeof error) != SPARBOR_OK) return EXIT_FAILURE;
    output.data = y;
    for (turn = 0; turn < 100; turn++) {
        output.bytes = sizeof y;
        ids[0][3] = 1000;
        if (sparbor_run_arrays(model, NULL, &input, 1, &output, 1, error, sizeof error) != SPARBOR_BAD_ARGUMENT)
            return EXIT_FAILURE;
        ids[0][3] = 3;
        output.bytes = sizeof y;
        if (sparbor_run_arrays(model, NULL, &input, 1, &output, 1, NULL, 0) != SPARBOR_OK) return EXIT_FAILURE;
        if (memcmp(y, first, 2 * 5 * 3 * sizeof *y) != 0) return EXIT_FAILURE;
    }
    printf("%s\n", error);
    sparbor_free(model);
    return EXIT_SUCCESS;
}
