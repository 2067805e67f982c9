/* By a table of all bytes. */
static void quantized_map(const uint8_t *x, float step, int32_t zero, const struct byte_ending *end, size_t count,
                          uint8_t *y)
{
    uint8_t table[256];
    float numbers[16];
    size_t first, i;
    for (first = 0; first < 256; first += 16) {
        for (i = 0; i < 16; i++)
            numbers[i] = (float)((int32_t)(first + i) - zero) * step;
        end->map(numbers, 16);
        for (i = 0; i < 16; i++)
            table[first + i] = byte_of(numbers[i] / end->step, end->zero, end->low, end->high);
    }
    for (i = 0; i < count; i++)
        y[i] = table[x[i]];
}
