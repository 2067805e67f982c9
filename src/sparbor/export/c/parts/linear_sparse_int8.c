/* Each row of inputs becomes bytes, of which the sums are exact: whole numbers of at most 32 bits. */
static void linear_sparse_int8(const struct sparse_int8 *layer, const struct row_scales *by, size_t inputs, size_t rows,
                               const float *x, float *y, uint8_t *bytes)
{
    for (; rows > 0; rows--, x += inputs, y += layer->outputs) {
        struct sparse_int8 rest = *layer;
        size_t first;
        int32_t zero;
        const float step = to_bytes(x, inputs, bytes, &zero);
        for (first = 0; first < layer->outputs; first += 16) {
            const size_t left = layer->outputs - first;
            int32_t sums[16] = {0};
            rest = add_group(rest, bytes, sums);
            store_row(sums, by, step, zero, first, left < 16 ? left : 16, y);
        }
    }
}
