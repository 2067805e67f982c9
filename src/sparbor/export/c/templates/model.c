/* $first_line: constants $flash bytes, static buffers $ram bytes. */
#include "$name.h"

#include <math.h>
#include <string.h>

$functions
$constants
${memory}static void compute(const float *in, float *out)
{
    $calls
}

int ${name}_run(const float *in, float *out)
{
    if (in == NULL || out == NULL)
        return 1;
    compute(in, out);
    return 0;
}
//if bytes

int ${name}_run_u8(const uint8_t *in, float *out)
{
    if (in == NULL || out == NULL)
        return 1;
    $byte_call
    compute(memory + $image_at, out);
    return 0;
}
//end
