/* Pixels of some channels to pixels that have `all`, whose bytes have another step and another zero. */
static void quantized_copy(const uint8_t *x, int64_t multiplier, int32_t zero, const struct byte_ending *end,
                           size_t channels, size_t pixels, uint8_t *y, size_t all)
{
    size_t channel;
    for (; pixels > 0; pixels--, x += channels, y += all)
        for (channel = 0; channel < channels; channel++)
            y[channel] = rounded_byte(end, (x[channel] - zero) * multiplier);
}
