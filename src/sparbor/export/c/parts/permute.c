/* Numbers in the order of other dimensions: of each of the result's, its size, and how far apart its steps lie in x. */
static void permute(const float *x, const uint32_t *sizes, const uint32_t *steps, size_t dimensions, size_t count,
                    float *y)
{
    size_t i, rest, at, d;
    for (i = 0; i < count; i++) {
        rest = i;
        at = 0;
        for (d = dimensions; d-- > 0; rest /= sizes[d])
            at += rest % sizes[d] * steps[d];
        y[i] = x[at];
    }
}
