/*
 * Synapses of a layer, 16 neurons at a time. A branch is 32 consecutive inputs; runs list branches with as many slots
 * each; a slot has a weight and its input's index in the branch for each of the 16 neurons. Index 128 is no synapse.
 */
struct sparse_exact {
    size_t outputs;
    const uint16_t *runs_per_group, *run_slots, *run_branches, *branches;
    const float *weights;
    const uint8_t *indices;
    const float *bias;
};
