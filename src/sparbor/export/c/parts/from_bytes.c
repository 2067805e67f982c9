/* Bytes of an image to what the network was trained on, channel by channel. */
static void from_bytes(const uint8_t *x, const float *scale, const float *shift, size_t channels, size_t pixels,
                       float *y)
{
    size_t i;
    for (; channels > 0; channels--, scale++, shift++)
        for (i = 0; i < pixels; i++)
            *y++ = (float)*x++ * *scale + *shift;
}
