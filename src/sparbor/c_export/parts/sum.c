/* Sixteen partial sums keep more digits than one, and fit vector registers. */
static float sum(const float *x, size_t count)
{
    float parts[16] = {0}, total = 0.0f;
    size_t i, lane;
    for (i = 0; i + 16 <= count; i += 16)
        for (lane = 0; lane < 16; lane++)
            parts[lane] += x[i + lane];
    for (; i < count; i++)
        parts[i % 16] += x[i];
    for (lane = 0; lane < 16; lane++)
        total += parts[lane];
    return total;
}
