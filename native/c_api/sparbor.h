/* Sparbor's engine for C: runs deployed models, the files that `sparbor.deploy(...).save` writes.
 *
 * Several threads may run one model at once. No function prints, exits or keeps global state.
 */
#ifndef SPARBOR_H
#define SPARBOR_H

#include <stddef.h>
#include <stdint.h>

#if defined(SPARBOR_API)
#elif defined(_WIN32)
#define SPARBOR_API __declspec(dllimport)
#else
#define SPARBOR_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sparbor_model sparbor_model;

typedef enum sparbor_status {
    SPARBOR_OK = 0,
    SPARBOR_BAD_ARGUMENT = 1,  /* a null pointer, or a batch of no items */
    SPARBOR_NO_BYTES = 2,      /* the model takes floats alone */
    SPARBOR_OUT_OF_MEMORY = 3, /* pass fewer items at once */
    SPARBOR_FAILED = 4         /* anything else */
} sparbor_status;

/* The model in these bytes of a model file, which may be freed afterwards, ready to run on so many threads (1 to 256),
 * the caller's among them. NULL if it cannot be, and then `error`, unless it is NULL, holds the reason: a text of less
 * than `error_size` bytes, cut if it is longer. The variable SPARBOR_ISA of the environment forces a set of kernels. */
SPARBOR_API sparbor_model *sparbor_load(const void *data, size_t size, unsigned threads, char *error,
                                        size_t error_size);

/* Frees a model that nobody runs any more; NULL is left alone. */
SPARBOR_API void sparbor_free(sparbor_model *model);

/* How many numbers an item of the batch has. */
SPARBOR_API size_t sparbor_input_size(const sparbor_model *model);
SPARBOR_API size_t sparbor_output_size(const sparbor_model *model);

/* Whether the model takes raw bytes as well, which it normalises itself: 1 or 0. */
SPARBOR_API int sparbor_takes_bytes(const sparbor_model *model);

/* The set of kernels that it runs on: "avx512", "avx2" or "portable". */
SPARBOR_API const char *sparbor_kernels(const sparbor_model *model);

/* `batch` items of sparbor_input_size() numbers to as many of sparbor_output_size(). On failure `y` may hold anything. */
SPARBOR_API sparbor_status sparbor_run(sparbor_model *model, const float *x, float *y, size_t batch);
SPARBOR_API sparbor_status sparbor_run_bytes(sparbor_model *model, const uint8_t *x, float *y, size_t batch);

/* What a status means, in English. */
SPARBOR_API const char *sparbor_status_text(sparbor_status status);

#ifdef __cplusplus
}
#endif

#endif
