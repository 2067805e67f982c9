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

/* How many numbers an item of the batch has, of a model with one input and one output of floats whose first dimension
 * alone is of any size; 0 for others, which sparbor_run_arrays runs. */
SPARBOR_API size_t sparbor_input_size(const sparbor_model *model);
SPARBOR_API size_t sparbor_output_size(const sparbor_model *model);

/* Whether the model takes raw bytes as well, which it normalises itself: 1 or 0. */
SPARBOR_API int sparbor_takes_bytes(const sparbor_model *model);

/* The set of kernels that it runs on, such as "avx512", "avx2" or "portable". */
SPARBOR_API const char *sparbor_kernels(const sparbor_model *model);

/* `batch` items of sparbor_input_size() numbers to as many of sparbor_output_size(). On failure `y` may hold anything. */
SPARBOR_API sparbor_status sparbor_run(sparbor_model *model, const float *x, float *y, size_t batch);
SPARBOR_API sparbor_status sparbor_run_bytes(sparbor_model *model, const uint8_t *x, float *y, size_t batch);

/* Models with any inputs and outputs. */

typedef enum sparbor_type {
    SPARBOR_F32 = 0,
    SPARBOR_U8 = 1,
    SPARBOR_I8 = 2,
    SPARBOR_I32 = 3,
    SPARBOR_I64 = 4,
    SPARBOR_BOOL = 5
} sparbor_type;

#define SPARBOR_MOST_DIMENSIONS 9

/* An array without gaps, the last dimension's numbers one after another. */
typedef struct sparbor_array {
    const char *name;
    sparbor_type type;
    size_t dimensions;
    size_t shape[SPARBOR_MOST_DIMENSIONS];
    void *data;
    size_t bytes; /* that `data` has room for */
} sparbor_array;

SPARBOR_API size_t sparbor_input_count(const sparbor_model *model);
SPARBOR_API size_t sparbor_output_count(const sparbor_model *model);

/* What the model takes and returns, by number: name, type and shape, in which 0 stands for a size that a call says. */
SPARBOR_API sparbor_array sparbor_input(const sparbor_model *model, size_t number);
SPARBOR_API sparbor_array sparbor_output(const sparbor_model *model, size_t number);

/* What a model with states remembers from call to call. NULL if there is no memory for it; free it before its model. */
typedef struct sparbor_session sparbor_session;
SPARBOR_API sparbor_session *sparbor_session_new(sparbor_model *model);
SPARBOR_API void sparbor_session_reset(sparbor_session *session);
SPARBOR_API void sparbor_session_free(sparbor_session *session);

/* Runs the model on arrays given by name, in any order, and writes to the outputs, also by name, their types and shapes;
 * and their numbers too, unless some `data` is NULL: then nothing runs, and `bytes` says how many each output needs.
 * With a session, which one thread at a time may use, its states are neither given nor returned. On failure `error`,
 * unless it is NULL, holds the reason, as for sparbor_load. */
SPARBOR_API sparbor_status sparbor_run_arrays(sparbor_model *model, sparbor_session *session,
                                              const sparbor_array *inputs, size_t input_count,
                                              sparbor_array *outputs, size_t output_count, char *error,
                                              size_t error_size);

/* What a status means, in English. */
SPARBOR_API const char *sparbor_status_text(sparbor_status status);

#ifdef __cplusplus
}
#endif

#endif
