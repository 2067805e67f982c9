/* Each row of inputs becomes bytes, in which the sums are exact: whole numbers of at most 32 bits. */
static void linear_sparse_int8(const struct sparse_int8 *layer, size_t inputs, size_t rows, const float *x, float *y,
                               uint8_t *bytes)
{
    for (; rows > 0; rows--, x += inputs, y += layer->outputs) {
        const uint16_t *runs = layer->runs_per_group, *run_quads = layer->run_quads;
        const uint16_t *run_branches = layer->run_branches, *branch = layer->branches;
        const uint8_t *indices = layer->indices;
        const int8_t *weights = layer->weights;
        int32_t zero;
        const float step = to_bytes(x, inputs, bytes, &zero);
        size_t first, run, i, quad, lane;
        for (first = 0; first < layer->outputs; first += 16, runs++) {
            int32_t sums[16] = {0};
            for (run = 0; run < *runs; run++, run_quads++, run_branches++)
                for (i = 0; i < *run_branches; i++, branch++) {
                    const uint8_t *from = bytes + (size_t)*branch * 64;
                    for (quad = 0; quad < *run_quads; quad++, weights += 64, indices += 64)
                        add_quad(indices, weights, from, sums);
                }
            for (lane = 0; lane < 16 && first + lane < layer->outputs; lane++) {
                const size_t neuron = first + lane;
                const float sum = (float)(sums[lane] - zero * layer->sums[neuron]);
                const float value = sum * (layer->scale[neuron] * step);
                y[neuron] = layer->bias != NULL ? value + layer->bias[neuron] : value;
            }
        }
    }
}
