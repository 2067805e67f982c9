/*
 * Synapses of a layer, 16 neurons at a time. A branch is 64 consecutive inputs; runs list branches with as many quads
 * each; a quad has four weights and their inputs' indices in the branch for each of the 16 neurons. A weight is a whole
 * number, times its neuron's scale; `sums` has the sum of each neuron's. Index 128 is no synapse, and its weight is 0.
 */
struct sparse_int8 {
    size_t outputs;
    const uint16_t *runs_per_group, *run_branches, *branches, *run_quads;
    const uint8_t *indices;
    const int8_t *weights;
    const float *scale;
    const int32_t *sums;
    const float *bias;
};
