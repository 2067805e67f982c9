/* $first_line: reads an image from a file, prints the scores and the class. */
#include <stdio.h>

#include "$name.h"

static float image[${upper}_INPUT_SIZE + 1]; /* one more, to notice a file that is too long */
static float scores[${upper}_OUTPUT_SIZE];

/* By its size a file holds floats, in this machine's byte order, or bytes, if the network takes them. */
static int classify(size_t bytes)
{
    if (bytes == sizeof(float) * ${upper}_INPUT_SIZE)
        return ${name}_run(image, scores);
//if bytes
    if (bytes == ${upper}_INPUT_SIZE)
        return ${name}_run_u8((const uint8_t *)image, scores);
//end
    fprintf(stderr, "the image has %lu bytes, or more: ", (unsigned long)bytes);
//if bytes
    fprintf(stderr, "%d bytes or ", ${upper}_INPUT_SIZE);
//end
    fprintf(stderr, "%d floats are needed\n", ${upper}_INPUT_SIZE);
    return 1;
}

int main(int count, char **arguments)
{
    FILE *file;
    size_t bytes, i, best = 0;
    if (count != 2) {
        fprintf(stderr, "usage: %s IMAGE\n", arguments[0]);
        return 2;
    }
    file = fopen(arguments[1], "rb");
    if (file == NULL) {
        perror(arguments[1]);
        return 2;
    }
    bytes = fread(image, 1, sizeof image, file);
    if (ferror(file)) {
        perror(arguments[1]);
        fclose(file);
        return 2;
    }
    fclose(file);
    if (classify(bytes) != 0)
        return 2;
    printf("scores:");
    for (i = 0; i < ${upper}_OUTPUT_SIZE; i++) {
        printf(" %.9g", (double)scores[i]);
        if (scores[i] > scores[best])
            best = i;
    }
    printf("\nclass: %lu\n", (unsigned long)best);
    return 0;
}
