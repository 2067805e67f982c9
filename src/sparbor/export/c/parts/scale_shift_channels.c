static void scale_shift_channels(const float *x, const float *scale, const float *shift, size_t channels, size_t pixels,
                                 float *y)
{
    size_t channel;
    for (channel = 0; channel < channels; channel++, x += pixels, y += pixels)
        scale_shift(x, scale[channel], shift[channel], pixels, y);
}
