/* What the page calls: the network and a place for what goes in and what comes out. */
#include "digits.h"

static uint8_t image[DIGITS_INPUT_SIZE];
static float scores[DIGITS_OUTPUT_SIZE];

#define EXPORT(name) __attribute__((export_name(name)))

EXPORT("image") uint8_t *image_place(void)
{
    return image;
}

EXPORT("scores") float *scores_place(void)
{
    return scores;
}

EXPORT("run") int run(void)
{
    return digits_run_u8(image, scores);
}
