/* A plane of outputs += weight * the inputs that lie under one place of the window, counted channel by channel. */
static void add_place(const struct window *w, float weight, size_t place, const float *restrict x, float *restrict y)
{
    const size_t kernel = w->kernel_height * w->kernel_width, within = place % kernel;
    const struct span down = w->down[within / w->kernel_width], across = w->across[within % w->kernel_width];
    size_t i, j;
    x += place / kernel * w->height * w->width + across.at;
    y += across.first;
    for (i = 0; i < down.count; i++) {
        const float *from = x + (down.at + i * down.move) * w->width;
        float *to = y + (down.first + i * down.step) * w->out_width;
        if (across.move == 1 && across.step == 1)
            for (j = 0; j < across.count; j++)
                to[j] += weight * from[j];
        else
            for (j = 0; j < across.count; j++)
                to[j * across.step] += weight * from[j * across.move];
    }
}
