/* All weights of a layer, as halves that their neuron's scale multiplies. */
struct dense_halves {
    size_t outputs;
    const uint16_t *halves;
    const float *scale, *bias;
};
