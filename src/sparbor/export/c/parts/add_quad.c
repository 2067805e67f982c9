/* Four synapses of each of 16 neurons; one that is none has an index that leads to an input, and the weight 0. */
static void add_quad(const uint8_t *indices, const int8_t *weights, const uint8_t *x, int32_t *sums)
{
    size_t lane;
    for (lane = 0; lane < 16; lane++, indices += 4, weights += 4)
        sums[lane] += weights[0] * x[indices[0] & 63u] + weights[1] * x[indices[1] & 63u] +
                      weights[2] * x[indices[2] & 63u] + weights[3] * x[indices[3] & 63u];
}
