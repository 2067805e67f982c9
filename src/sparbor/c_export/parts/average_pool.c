/* Sums divided by `divisor`, or if that is 0 by the places that count, so many down and so many across. */
static void average_pool(const struct window *w, const uint32_t *down, const uint32_t *across, float divisor,
                         const float *x, float *y)
{
    const size_t kernel = w->kernel_height * w->kernel_width;
    size_t channel, place, i, j;
    fill(y, 0.0f, w->channels * w->out_height * w->out_width);
    for (channel = 0; channel < w->channels; channel++, x += w->height * w->width) {
        for (place = 0; place < kernel; place++)
            add_place(w, 1.0f, place, x, y);
        for (i = 0; i < w->out_height; i++, y += w->out_width)
            for (j = 0; j < w->out_width; j++)
                y[j] /= divisor > 0.0f ? divisor : (float)(down[i] * across[j]);
    }
}
