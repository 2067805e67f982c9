static void quantized_add(const uint8_t *a, int64_t a_multiplier, int32_t a_zero, const uint8_t *b,
                          int64_t b_multiplier, int32_t b_zero, const struct byte_ending *end, size_t count, uint8_t *y)
{
    size_t i;
    for (i = 0; i < count; i++) {
        const int64_t value = (a[i] - a_zero) * a_multiplier + (b[i] - b_zero) * b_multiplier;
        store_bytes(end, &value, 1, y + i);
    }
}
