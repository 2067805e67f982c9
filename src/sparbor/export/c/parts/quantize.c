/* Planes of floats to bytes, of which all channels of a pixel lie one after another. */
static void quantize(const float *x, size_t channels, size_t pixels, float step, int32_t zero, uint8_t *y)
{
    size_t channel, pixel;
    for (channel = 0; channel < channels; channel++)
        for (pixel = 0; pixel < pixels; pixel++)
            y[pixel * channels + channel] = byte_of(*x++ / step, zero, 0, 255);
}
