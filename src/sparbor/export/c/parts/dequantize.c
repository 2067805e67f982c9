static void dequantize(const uint8_t *x, size_t channels, size_t pixels, float step, int32_t zero, float *y)
{
    size_t channel, pixel;
    for (channel = 0; channel < channels; channel++)
        for (pixel = 0; pixel < pixels; pixel++)
            *y++ = (float)(x[pixel * channels + channel] - zero) * step;
}
