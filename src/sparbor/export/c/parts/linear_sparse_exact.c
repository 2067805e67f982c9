static void linear_sparse_exact(const struct sparse_exact *layer, size_t inputs, size_t rows, const float *x, float *y)
{
    for (; rows > 0; rows--, x += inputs, y += layer->outputs) {
        const uint16_t *runs = layer->runs_per_group, *run_slots = layer->run_slots;
        const uint16_t *run_branches = layer->run_branches, *branch = layer->branches;
        const float *weights = layer->weights;
        const uint8_t *indices = layer->indices;
        size_t first, run, i, slot, lane;
        for (first = 0; first < layer->outputs; first += 16, runs++) {
            const size_t left = layer->outputs - first;
            float sums[16] = {0};
            for (run = 0; run < *runs; run++, run_slots++, run_branches++)
                for (i = 0; i < *run_branches; i++, branch++) {
                    const float *from = x + (size_t)*branch * 32;
                    for (slot = 0; slot < *run_slots; slot++, weights += 16, indices += 16)
                        for (lane = 0; lane < 16; lane++)
                            if (indices[lane] < 32)
                                sums[lane] += weights[lane] * from[indices[lane]];
                }
            store_group(sums, NULL, layer->bias != NULL ? layer->bias + first : NULL, left < 16 ? left : 16,
                        y + first);
        }
    }
}
