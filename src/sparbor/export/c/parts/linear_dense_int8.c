/* As linear_sparse_int8. */
static void linear_dense_int8(const struct dense_int8 *layer, const struct row_scales *by, size_t inputs, size_t rows,
                              const float *x, float *y, uint8_t *bytes)
{
    for (; rows > 0; rows--, x += inputs, y += layer->outputs) {
        const int8_t *weights = layer->weights;
        size_t neuron, i;
        int32_t zero;
        const float step = to_bytes(x, inputs, bytes, &zero);
        for (neuron = 0; neuron < layer->outputs; neuron++, weights += inputs) {
            int32_t sum = 0;
            for (i = 0; i < inputs; i++)
                sum += weights[i] * bytes[i];
            store_row(&sum, by, step, zero, neuron, 1, y);
        }
    }
}
