/* The sums of a group of neurons, as many as there are, become their outputs. */
static void store_group(const float *sums, const float *scale, const float *bias, size_t count, float *y)
{
    size_t i;
    for (i = 0; i < count; i++) {
        const float value = scale != NULL ? sums[i] * scale[i] : sums[i];
        y[i] = bias != NULL ? value + bias[i] : value;
    }
}
