/* Up to 16 results. */
static void store_bytes(const struct byte_ending *end, const int64_t *values, size_t count, uint8_t *y)
{
    float numbers[16];
    size_t i;
    if (end->map == NULL) {
        for (i = 0; i < count; i++)
            y[i] = rounded_byte(end, values[i]);
        return;
    }
    for (i = 0; i < count; i++)
        numbers[i] = (float)values[i] * end->scale;
    end->map(numbers, count);
    for (i = 0; i < count; i++)
        y[i] = byte_of(numbers[i] / end->step, end->zero, end->low, end->high);
}
