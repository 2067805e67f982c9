/* All weights of a layer, neuron by neuron. */
struct dense_int8 {
    size_t outputs;
    const int8_t *weights;
};
