/* Loads the model files named on the command line, and runs those that load: a line for each says what came of it. */
#include <stdio.h>
#include <stdlib.h>

#include "sparbor.h"

static sparbor_status run_once(sparbor_model *model) {
    float *x = calloc(sparbor_input_size(model), sizeof(float)), *y = calloc(sparbor_output_size(model), sizeof(float));
    sparbor_status status = sparbor_run(model, x, y, 1);
    free(x);
    free(y);
    return status;
}

static void load_file(const char *path) {
    char error[200];
    FILE *file = fopen(path, "rb");
    size_t size = 0;
    unsigned char *data;
    sparbor_model *model;
    if (!file) exit(2);
    while (fgetc(file) != EOF) size++;
    rewind(file);
    data = malloc(size + (size == 0));
    if (fread(data, 1, size, file) != size) exit(2);
    fclose(file);
    model = sparbor_load(data, size, 1, error, sizeof error);
    free(data);
    printf("%s\n", model ? sparbor_status_text(run_once(model)) : error);
    sparbor_free(model);
}

/* Null pointers, empty batches and short texts are answered, not followed. */
static int misuse(void) {
    char text[4] = "xxx";
    float number = 0;
    if (sparbor_load(NULL, 10, 1, text, sizeof text) || text[3] != '\0' || text[0] != 'd') return 1;
    if (sparbor_load("", 0, 1, NULL, 0) || sparbor_load("12345678", 8, 0, text, 0)) return 1;
    if (sparbor_run(NULL, &number, &number, 1) != SPARBOR_BAD_ARGUMENT) return 1;
    sparbor_free(NULL);
    return 0;
}

int main(int argc, char **argv) {
    int i;
    if (misuse()) return 3;
    for (i = 1; i < argc; i++) load_file(argv[i]);
    return 0;
}
