/* How many places of a window count along one axis: those before the end of the plane, or of its padding. */
static int64_t places_along(size_t output, int32_t stride, int32_t kernel, int32_t low, int32_t high)
{
    const int32_t start = (int32_t)output * stride, end = start + kernel;
    return (end < high ? end : high) - (start > low ? start : low);
}

/* Sums divided by `divisor`, or if that is 0 by the places that count, those of the padding only if `padded`. */
static void quantized_average_pool(const struct byte_window *w, const struct byte_ending *end, int64_t multiplier,
                                   int32_t divisor, int32_t padded, const uint8_t *x, uint8_t *y)
{
    const int32_t height = (int32_t)w->height + w->top, width = (int32_t)w->width + w->left;
    size_t i, j, ky, kx, channel;
    for (i = 0; i < w->out_height; i++)
        for (j = 0; j < w->out_width; j++, y += w->channels) {
            const int64_t down = places_along(i, w->stride_down, (int32_t)w->kernel_height, padded ? 0 : w->top,
                                              padded ? height + w->bottom : height);
            const int64_t across = places_along(j, w->stride_across, (int32_t)w->kernel_width, padded ? 0 : w->left,
                                                padded ? width + w->right : width);
            for (channel = 0; channel < w->channels; channel++) {
                int64_t sum = 0;
                for (ky = 0; ky < w->kernel_height; ky++)
                    for (kx = 0; kx < w->kernel_width; kx++) {
                        const uint8_t *from = pixel_under(w, x, i, j, ky, kx);
                        sum += from != NULL ? from[channel] - w->zero : 0;
                    }
                sum = sum * multiplier / (divisor > 0 ? divisor : down * across);
                store_bytes(end, &sum, 1, y + channel);
            }
        }
}
