static void linear_sparse_words(const struct sparse_words *layer, size_t inputs, size_t rows, const float *x, float *y)
{
    for (; rows > 0; rows--, x += inputs, y += layer->outputs) {
        const uint16_t *runs = layer->runs_per_group, *run_slots = layer->run_slots;
        const uint16_t *run_branches = layer->run_branches, *branch = layer->branches, *words = layer->words;
        size_t first, run, i, slot;
        for (first = 0; first < layer->outputs; first += 16, runs++) {
            const size_t left = layer->outputs - first;
            struct slot_sums group;
            float sums[16];
            memset(&group, 0, sizeof group);
            for (run = 0; run < *runs; run++, run_slots++, run_branches++)
                for (i = 0; i < *run_branches; i++, branch++)
                    for (slot = 0; slot < *run_slots; slot++, words += 16)
                        add_slot(&group, words, x + (size_t)*branch * 32);
            memcpy(sums, &group, sizeof sums);
            store_group(sums, layer->scale + first, layer->bias != NULL ? layer->bias + first : NULL,
                        left < 16 ? left : 16, y + first);
        }
    }
}
