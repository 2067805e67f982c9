/*
 * Synapses of a layer, 16 neurons at a time. A branch is 64 consecutive inputs; runs list branches with as many quads
 * each; a quad has four weights and their inputs' indices in the branch for each of the 16 neurons. Index 128 is no
 * synapse, and its weight is 0.
 */
struct sparse_int8 {
    size_t outputs;
    const uint16_t *runs_per_group, *run_branches, *branches, *run_quads;
    const uint8_t *indices;
    const int8_t *weights;
};

/* What is left of a layer while its groups of neurons are computed one after another. */
static struct sparse_int8 add_group(struct sparse_int8 rest, const uint8_t *x, int32_t *sums)
{
    size_t run, i, quad, lane;
    for (run = *rest.runs_per_group++; run > 0; run--, rest.run_quads++)
        for (i = *rest.run_branches++; i > 0; i--) {
            const uint8_t *from = x + (size_t)*rest.branches++ * 64;
            for (quad = *rest.run_quads; quad > 0; quad--, rest.indices += 64, rest.weights += 64)
                for (lane = 0; lane < 16; lane++) {
                    const uint8_t *index = rest.indices + 4 * lane;
                    const int8_t *weight = rest.weights + 4 * lane;
                    sums[lane] += weight[0] * from[index[0] & 63u] + weight[1] * from[index[1] & 63u] +
                                  weight[2] * from[index[2] & 63u] + weight[3] * from[index[3] & 63u];
                }
        }
    return rest;
}
