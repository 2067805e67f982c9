/* A NaN wins and stays. */
static void max_pool(const struct window *w, const float *restrict x, float *restrict y)
{
    size_t channel, ky, kx, i, j;
    fill(y, -INFINITY, w->channels * w->out_height * w->out_width);
    for (channel = 0; channel < w->channels; channel++, x += w->height * w->width, y += w->out_height * w->out_width)
        for (ky = 0; ky < w->kernel_height; ky++)
            for (kx = 0; kx < w->kernel_width; kx++) {
                const struct span down = w->down[ky], across = w->across[kx];
                for (i = 0; i < down.count; i++) {
                    const float *from = x + (down.at + i * down.move) * w->width + across.at;
                    float *to = y + (down.first + i * down.step) * w->out_width + across.first;
                    for (j = 0; j < across.count; j++) {
                        const float value = from[j * across.move];
                        float *most = to + j * across.step;
                        if (value > *most || value != value)
                            *most = value;
                    }
                }
            }
}
