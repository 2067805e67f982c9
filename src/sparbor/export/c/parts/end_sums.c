/* What becomes of sums of bytes: by neuron a factor and what is added; and of the bytes that are added, if there are. */
struct byte_sums {
    const int32_t *multiplier;
    const int64_t *shift;
    int64_t residual_multiplier;
    int32_t residual_zero;
    struct byte_ending end;
};

/* Up to 16 of them. */
static void end_sums(const struct byte_sums *by, const int32_t *sums, size_t first, size_t count,
                     const uint8_t *residual, uint8_t *y)
{
    int64_t values[16];
    size_t i;
    for (i = 0; i < count; i++) {
        values[i] = (int64_t)sums[i] * by->multiplier[first + i] + by->shift[first + i];
        if (residual != NULL)
            values[i] += (residual[first + i] - by->residual_zero) * by->residual_multiplier;
    }
    store_bytes(&by->end, values, count, y + first);
}
