/* $first_line: $name.h and $name.c, C99, which need <math.h>, <stdint.h> and <string.h>. */
#ifndef ${upper}_H
#define ${upper}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ${upper}_INPUT_SIZE $inputs /* $input_shape */
#define ${upper}_OUTPUT_SIZE $outputs
#define ${upper}_FLASH_BYTES $flash /* of constants; the code comes on top */
#define ${upper}_RAM_BYTES $ram /* of the static buffers; in and out are the caller's */

/*
 * Computes ${upper}_OUTPUT_SIZE numbers from ${upper}_INPUT_SIZE numbers, which must not overlap. Returns 0, or 1 if
 * one of them is NULL. Neither this function nor another of this file may run at the same time: they share buffers.
 */
int ${name}_run(const float *in, float *out);
//if bytes

/* The same for an image of bytes, which is normalised as for the training. */
#define ${upper}_TAKES_BYTES 1
int ${name}_run_u8(const uint8_t *in, float *out);
//end

#ifdef __cplusplus
}
#endif

#endif
