/* By groups of 16 neurons: for each input, their 16 weights. */
static void linear_dense_halves(const struct dense_halves *layer, size_t inputs, size_t rows, const float *x, float *y)
{
    for (; rows > 0; rows--, x += inputs, y += layer->outputs) {
        const uint16_t *halves = layer->halves;
        size_t first, i, lane;
        for (first = 0; first < layer->outputs; first += 16) {
            const size_t left = layer->outputs - first;
            float sums[16] = {0};
            for (i = 0; i < inputs; i++, halves += 16)
                for (lane = 0; lane < 16; lane++)
                    sums[lane] += half_value(halves[lane]) * x[i];
            store_group(sums, layer->scale + first, layer->bias != NULL ? layer->bias + first : NULL,
                        left < 16 ? left : 16, y + first);
        }
    }
}
