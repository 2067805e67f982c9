/* All weights of a layer. */
struct dense_exact {
    size_t outputs;
    const float *weights, *bias;
};
