/* What a row's sums are multiplied by beside its step; the sums of each neuron's weights; biases, or NULL. */
struct row_scales {
    const float *scale;
    const int32_t *weight_sums;
    const float *bias;
};

/* Some neurons' sums of a row of bytes, which have this step and this zero, become their outputs. */
static void store_row(const int32_t *sums, const struct row_scales *by, float step, int32_t zero, size_t first,
                      size_t count, float *y)
{
    size_t i;
    for (i = 0; i < count; i++) {
        const size_t neuron = first + i;
        const float value = (float)(sums[i] - zero * by->weight_sums[neuron]) * (by->scale[neuron] * step);
        y[neuron] = by->bias != NULL ? value + by->bias[neuron] : value;
    }
}
