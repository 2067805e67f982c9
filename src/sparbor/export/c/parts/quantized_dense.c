/* The same with all weights: of a neuron those of each place one after another. */
static void quantized_dense(const struct dense_int8 *layer, const struct byte_window *w, const struct byte_sums *by,
                            const uint8_t *x, const uint8_t *residual, uint8_t *y, uint8_t *patch)
{
    const size_t places = w->kernel_height * w->kernel_width, own = w->channels / w->groups;
    const size_t filters = w->outputs / w->groups;
    size_t i, j, neuron, place, channel;
    for (i = 0; i < w->out_height; i++)
        for (j = 0; j < w->out_width; j++, y += w->outputs) {
            const int8_t *weights = layer->weights;
            take_patch(w, x, i, j, w->kernel_width * w->channels, w->channels, patch);
            for (neuron = 0; neuron < w->outputs; neuron++) {
                const uint8_t *from = patch + neuron / filters * own;
                int32_t sum = 0;
                for (place = 0; place < places; place++, from += w->channels, weights += own)
                    for (channel = 0; channel < own; channel++)
                        sum += weights[channel] * from[channel];
                end_sums(by, &sum, neuron, 1, residual, y);
            }
            if (residual != NULL)
                residual += w->outputs;
        }
}
