/* A factor times `ratio` as a whole number of 2^-24, at most 2^20. */
static int64_t whole_factor(float factor, float ratio)
{
    const float product = factor * ratio;
    const float known = product != product ? 0.0f : product < -0x1p20f ? -0x1p20f : product > 0x1p20f ? 0x1p20f : product;
    return (int64_t)(known * 0x1p24f);
}

/* Each channel times a factor, 16 channels at a time; `ratio` is a step of x in steps of y. */
static void quantized_scale(const uint8_t *x, int32_t zero, const float *factors, float ratio,
                            const struct byte_ending *end, size_t channels, size_t pixels, uint8_t *y)
{
    size_t first, i, pixel;
    for (first = 0; first < channels; first += 16) {
        const size_t count = channels - first < 16 ? channels - first : 16;
        int64_t factor[16];
        for (i = 0; i < count; i++)
            factor[i] = whole_factor(factors[first + i], ratio);
        for (pixel = 0; pixel < pixels; pixel++)
            for (i = 0; i < count; i++) {
                const size_t at = pixel * channels + first + i;
                y[at] = rounded_byte(end, (x[at] - zero) * factor[i]);
            }
    }
}
