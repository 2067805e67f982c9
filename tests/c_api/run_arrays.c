/* run_arrays MODEL SIZE CALLS SESSION DIRECTORY: calls a model so many times on the files NAME.CALL of the directory,
 * each named size being SIZE, in a session if SESSION is 1, and writes the files NAME.CALL.out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sparbor.h"

#define MOST 8

static void stop(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void *contents(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    void *data;
    if (!file || fseek(file, 0, SEEK_END) != 0)
        stop(path, "cannot be read");
    *size = (size_t)ftell(file);
    rewind(file);
    data = malloc(*size + 1);
    if (!data || fread(data, 1, *size, file) != *size)
        stop(path, "cannot be read");
    fclose(file);
    return data;
}

static void path_of(char *path, const char *folder, const char *name, int call, const char *end)
{
    sprintf(path, "%.400s/%.80s.%d%s", folder, name, call, end);
}

/* The inputs or the outputs of which there are files, or for which there are to be. */
static size_t arrays_of(sparbor_model *model, int in, const char *folder, int session, sparbor_array *arrays)
{
    size_t count = in ? sparbor_input_count(model) : sparbor_output_count(model), kept = 0, i;
    for (i = 0; i < count; i++) {
        char path[600];
        FILE *file;
        arrays[kept] = in ? sparbor_input(model, i) : sparbor_output(model, i);
        path_of(path, folder, arrays[kept].name, 0, in ? "" : ".wanted");
        file = fopen(path, "rb");
        if (file)
            fclose(file);
        if (file || !session)
            kept++;
    }
    return kept;
}

static void call(sparbor_model *model, sparbor_session *session, int number, size_t size, const char *folder)
{
    sparbor_array inputs[MOST], outputs[MOST];
    size_t in = arrays_of(model, 1, folder, session != NULL, inputs), i, d;
    size_t out = arrays_of(model, 0, folder, session != NULL, outputs);
    char error[300] = "", path[600];
    for (i = 0; i < in; i++) {
        path_of(path, folder, inputs[i].name, number, "");
        inputs[i].data = contents(path, &inputs[i].bytes);
        for (d = 0; d < inputs[i].dimensions; d++)
            if (inputs[i].shape[d] == 0)
                inputs[i].shape[d] = size;
    }
    if (sparbor_run_arrays(model, session, inputs, in, outputs, out, error, sizeof error) != SPARBOR_OK)
        stop("asking for sizes", error);
    for (i = 0; i < out; i++)
        outputs[i].data = malloc(outputs[i].bytes);
    if (sparbor_run_arrays(model, session, inputs, in, outputs, out, error, sizeof error) != SPARBOR_OK)
        stop("running", error);
    for (i = 0; i < out; i++) {
        FILE *file;
        path_of(path, folder, outputs[i].name, number, ".out");
        file = fopen(path, "wb");
        if (!file || fwrite(outputs[i].data, 1, outputs[i].bytes, file) != outputs[i].bytes || fclose(file) != 0)
            stop(path, "cannot be written");
        printf("%s %d %lu\n", outputs[i].name, (int)outputs[i].type, (unsigned long)outputs[i].dimensions);
        free(outputs[i].data);
    }
    for (i = 0; i < in; i++)
        free(inputs[i].data);
}

/* What is said of calls that cannot be; the first input has two dimensions or more, the first of them named. */
static void mistakes(sparbor_model *model, size_t size)
{
    sparbor_array inputs[MOST], outputs[MOST], kept;
    size_t in = sparbor_input_count(model), out = sparbor_output_count(model), i, d;
    static float numbers[4096];
    char error[300];
    for (i = 0; i < in; i++) {
        inputs[i] = sparbor_input(model, i);
        inputs[i].data = numbers;
        for (d = 0; d < inputs[i].dimensions; d++)
            if (inputs[i].shape[d] == 0)
                inputs[i].shape[d] = size;
    }
    for (i = 0; i < out; i++)
        outputs[i] = sparbor_output(model, i);
#define TRY(change, count)                                                                            \
    kept = inputs[0];                                                                                 \
    error[0] = '\0';                                                                                  \
    change;                                                                                           \
    if (sparbor_run_arrays(model, NULL, inputs, count, outputs, out, error, sizeof error) == SPARBOR_OK) \
        stop("a mistake", "nothing is said of it");                                                   \
    printf("%s\n", error);                                                                            \
    inputs[0] = kept
    TRY((void)0, in - 1);
    TRY(inputs[0].name = "nobody", in);
    TRY(inputs[0].name = inputs[1].name, in);
    TRY(inputs[0].type = SPARBOR_I64, in);
    TRY(inputs[0].data = NULL, in);
    TRY(inputs[0].dimensions = 1, in);
    TRY(inputs[0].shape[0] = size + 1, in);
    TRY(inputs[0].shape[0] = 0, in);
    for (i = 0; i < out; i++) { /* all have a place: if one had none, it would be a question */
        outputs[i].data = numbers;
        outputs[i].bytes = sizeof numbers;
    }
    outputs[0].bytes = 4;
    TRY((void)0, in);
    if (sparbor_run(model, numbers, numbers, 1) != SPARBOR_BAD_ARGUMENT || sparbor_input_size(model) != 0)
        stop("sparbor_run", "it takes a model with several inputs");
}

int main(int count, char **arguments)
{
    char error[300] = "";
    size_t bytes, size;
    sparbor_model *model;
    sparbor_session *session = NULL;
    void *data;
    int number;
    if (count != 6)
        stop("run_arrays", "MODEL SIZE CALLS SESSION DIRECTORY");
    data = contents(arguments[1], &bytes);
    model = sparbor_load(data, bytes, 1, error, sizeof error);
    free(data);
    if (!model)
        stop(arguments[1], error);
    size = (size_t)atoi(arguments[2]);
    if (atoi(arguments[4]))
        session = sparbor_session_new(model);
    if (atoi(arguments[3]) == 0)
        mistakes(model, size);
    for (number = 0; number < atoi(arguments[3]); number++)
        call(model, session, number, size, arguments[5]);
    sparbor_session_reset(session);
    sparbor_session_free(session);
    sparbor_free(model);
    return 0;
}
