/* By groups of 16 neurons: for each input, their 16 weights. */
static void linear_dense_exact(const struct dense_exact *layer, size_t inputs, size_t rows, const float *x, float *y)
{
    for (; rows > 0; rows--, x += inputs, y += layer->outputs) {
        const float *weights = layer->weights;
        size_t first, i, lane;
        for (first = 0; first < layer->outputs; first += 16) {
            const size_t left = layer->outputs - first;
            float sums[16] = {0};
            for (i = 0; i < inputs; i++, weights += 16)
                for (lane = 0; lane < 16; lane++)
                    sums[lane] += weights[lane] * x[i];
            store_group(sums, NULL, layer->bias != NULL ? layer->bias + first : NULL, left < 16 ? left : 16,
                        y + first);
        }
    }
}
