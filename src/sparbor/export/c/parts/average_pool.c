/* Along one axis, the places under an average pool's window that count lie from `low` on and before `high`. */
struct counted {
    int32_t kernel, stride, before, low, high;
};

static float counted_places(const struct counted *c, size_t output)
{
    const int32_t start = (int32_t)output * c->stride - c->before, end = start + c->kernel;
    return (float)((end < c->high ? end : c->high) - (start > c->low ? start : c->low));
}

/* Sums divided by `divisor`, or if that is 0 by the places that count. */
static void average_pool(const struct window *w, const struct counted *down, const struct counted *across,
                         float divisor, const float *x, float *y)
{
    const size_t kernel = w->kernel_height * w->kernel_width;
    size_t channel, place, i, j;
    fill(y, 0.0f, w->channels * w->out_height * w->out_width);
    for (channel = 0; channel < w->channels; channel++, x += w->height * w->width) {
        for (place = 0; place < kernel; place++)
            add_place(w, 1.0f, place, x, y);
        for (i = 0; i < w->out_height; i++, y += w->out_width)
            for (j = 0; j < w->out_width; j++)
                y[j] /= divisor > 0.0f ? divisor : counted_places(down, i) * counted_places(across, j);
    }
}
