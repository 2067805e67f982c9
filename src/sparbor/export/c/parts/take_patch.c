/* All that lies under a window, place by place, `row` bytes from one row of the window to the next, `place` within. */
static void take_patch(const struct byte_window *w, const uint8_t *x, size_t i, size_t j, size_t row, size_t place,
                       uint8_t *patch)
{
    size_t ky, kx;
    for (ky = 0; ky < w->kernel_height; ky++)
        for (kx = 0; kx < w->kernel_width; kx++) {
            const uint8_t *from = pixel_under(w, x, i, j, ky, kx);
            uint8_t *to = patch + ky * row + kx * place;
            if (from != NULL)
                memcpy(to, from, w->channels);
            else
                memset(to, w->zero, w->channels);
        }
}
