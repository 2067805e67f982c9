static void convolution_dense_halves(const struct dense_halves *layer, const struct window *w, const float *x, float *y)
{
    const size_t channels = w->channels / w->groups, pixels = w->out_height * w->out_width;
    const size_t places = channels * w->kernel_height * w->kernel_width, filters = w->out_channels / w->groups;
    const uint16_t *halves = layer->halves;
    size_t filter, place;
    for (filter = 0; filter < w->out_channels; filter++, y += pixels) {
        const float *from = x + filter / filters * channels * w->height * w->width;
        fill(y, 0.0f, pixels);
        for (place = 0; place < places; place++, halves++)
            add_place(w, half_value(*halves), place, from, y);
        scale_shift(y, layer->scale[filter], layer->bias != NULL ? layer->bias[filter] : 0.0f, pixels, y);
    }
}
