/* Sixteen partial sums keep more digits than one, and fit vector registers. */
static float sum(const float *x, size_t count)
{
    float parts[16] = {0}, total = 0.0f;
    size_t lane;
    for (; count >= 16; count -= 16, x += 16)
        for (lane = 0; lane < 16; lane++)
            parts[lane] += x[lane];
    for (lane = 0; lane < count; lane++)
        parts[lane] += x[lane];
    for (lane = 0; lane < 16; lane++)
        total += parts[lane];
    return total;
}
