/* A convolution: what lies under the window of each pixel is copied once, for all neurons. */
static void quantized_sparse(const struct sparse_int8 *layer, const struct byte_window *w, const struct byte_sums *by,
                             size_t row, size_t place, const uint8_t *x, const uint8_t *residual, uint8_t *y,
                             uint8_t *patch)
{
    size_t i, j, first;
    for (i = 0; i < w->out_height; i++)
        for (j = 0; j < w->out_width; j++, y += w->outputs) {
            struct sparse_int8 rest = *layer;
            take_patch(w, x, i, j, row, place, patch);
            for (first = 0; first < w->outputs; first += 16) {
                const size_t left = w->outputs - first;
                int32_t sums[16] = {0};
                rest = add_group(rest, patch, sums);
                end_sums(by, sums, first, left < 16 ? left : 16, residual, y);
            }
            if (residual != NULL)
                residual += w->outputs;
        }
}
