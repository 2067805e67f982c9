static void convolution_dense_exact(const struct dense_exact *layer, const struct window *w, const float *x, float *y)
{
    const size_t channels = w->channels / w->groups, pixels = w->out_height * w->out_width;
    const size_t places = channels * w->kernel_height * w->kernel_width, filters = w->out_channels / w->groups;
    const float *weights = layer->weights;
    size_t filter, place;
    for (filter = 0; filter < w->out_channels; filter++, y += pixels) {
        const float *from = x + filter / filters * channels * w->height * w->width;
        fill(y, layer->bias != NULL ? layer->bias[filter] : 0.0f, pixels);
        for (place = 0; place < places; place++, weights++)
            add_place(w, *weights, place, from, y);
    }
}
