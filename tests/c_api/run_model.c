/* Runs a model file on a raw array and writes the raw result, from several threads at once:
 * run_model MODEL floats|bytes INPUT OUTPUT. All threads must come to the same. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sparbor.h"

#define CALLERS 4
#define CALLS 50

static unsigned char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    long end;
    unsigned char *data;
    if (!file || fseek(file, 0, SEEK_END) != 0 || (end = ftell(file)) < 0) {
        perror(path);
        exit(2);
    }
    rewind(file);
    data = malloc((size_t)end + (end == 0)); /* no more than the file has, for the sanitizer to see what is beyond */
    *size = fread(data, 1, (size_t)end, file);
    fclose(file);
    return data;
}

struct job {
    sparbor_model *model;
    const void *input;
    int bytes;
    size_t batch;
    float *output;
    sparbor_status status;
};

static void *run(void *argument) {
    struct job *job = argument;
    int i;
    job->status = SPARBOR_OK;
    for (i = 0; i < CALLS && job->status == SPARBOR_OK; i++)
        job->status = job->bytes ? sparbor_run_bytes(job->model, job->input, job->output, job->batch)
                                 : sparbor_run(job->model, job->input, job->output, job->batch);
    return NULL;
}

static int run_from_threads(struct job first, size_t output_bytes, const char *path) {
    struct job jobs[CALLERS];
    pthread_t threads[CALLERS];
    FILE *file;
    int i, failed = 0;
    for (i = 0; i < CALLERS; i++) {
        jobs[i] = first;
        jobs[i].output = malloc(output_bytes);
        if (pthread_create(&threads[i], NULL, run, &jobs[i]) != 0) exit(2);
    }
    for (i = 0; i < CALLERS; i++) pthread_join(threads[i], NULL);
    for (i = 0; i < CALLERS && !failed; i++) {
        failed = jobs[i].status != SPARBOR_OK || memcmp(jobs[i].output, jobs[0].output, output_bytes) != 0;
        if (failed) fprintf(stderr, "thread %d: %s\n", i, sparbor_status_text(jobs[i].status));
    }
    file = fopen(path, "wb");
    if (!file || fwrite(jobs[0].output, 1, output_bytes, file) != output_bytes || fclose(file) != 0) exit(2);
    for (i = 0; i < CALLERS; i++) free(jobs[i].output);
    return failed;
}

int main(int argc, char **argv) {
    char error[256];
    size_t model_size, input_size;
    unsigned char *model_data, *input;
    struct job job;
    int failed;
    if (argc != 5) return 2;
    model_data = read_file(argv[1], &model_size);
    job.model = sparbor_load(model_data, model_size, 2, error, sizeof error);
    free(model_data); /* the model has what it needs of it */
    if (!job.model) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    job.bytes = strcmp(argv[2], "bytes") == 0;
    input = read_file(argv[3], &input_size);
    job.input = input;
    job.batch = input_size / (sparbor_input_size(job.model) * (job.bytes ? 1 : sizeof(float)));
    job.output = NULL;
    job.status = SPARBOR_OK;
    printf("%lu %lu %d %s\n", (unsigned long)sparbor_input_size(job.model),
           (unsigned long)sparbor_output_size(job.model), sparbor_takes_bytes(job.model), sparbor_kernels(job.model));
    failed = run_from_threads(job, job.batch * sparbor_output_size(job.model) * sizeof(float), argv[4]);
    free(input);
    sparbor_free(job.model);
    return failed;
}
