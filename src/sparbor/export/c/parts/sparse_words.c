/*
 * Synapses of a layer, 16 neurons at a time. A branch is 32 consecutive inputs; runs list branches with as many slots
 * each; a slot has a word for each of the 16 neurons: a half whose low five bits are the input's index in the branch.
 * The word 0 is no synapse.
 */
struct sparse_words {
    size_t outputs;
    const uint16_t *runs_per_group, *run_slots, *run_branches, *branches, *words;
    const float *scale, *bias;
};
