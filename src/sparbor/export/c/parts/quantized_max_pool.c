static void quantized_max_pool(const struct byte_window *w, const uint8_t *x, uint8_t *y)
{
    size_t i, j, ky, kx, channel;
    for (i = 0; i < w->out_height; i++)
        for (j = 0; j < w->out_width; j++, y += w->channels) {
            memset(y, 0, w->channels);
            for (ky = 0; ky < w->kernel_height; ky++)
                for (kx = 0; kx < w->kernel_width; kx++) {
                    const uint8_t *from = pixel_under(w, x, i, j, ky, kx);
                    for (channel = 0; from != NULL && channel < w->channels; channel++)
                        y[channel] = from[channel] > y[channel] ? from[channel] : y[channel];
                }
        }
}
