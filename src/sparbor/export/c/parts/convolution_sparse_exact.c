/* 16 filters at a time; with several groups of channels, each one's last 16 may be partly filled. */
static void convolution_sparse_exact(const struct sparse_exact *layer, const struct window *w, const float *x, float *y)
{
    const size_t inputs = w->channels / w->groups * w->height * w->width, pixels = w->out_height * w->out_width;
    const size_t filters = w->out_channels / w->groups;
    const uint16_t *runs = layer->runs_per_group, *run_slots = layer->run_slots;
    const uint16_t *run_branches = layer->run_branches, *branch = layer->branches;
    const float *weights = layer->weights;
    const uint8_t *indices = layer->indices;
    size_t group, first, row = 0, run, i, slot, lane;
    for (group = 0; group < w->groups; group++, x += inputs, y += filters * pixels)
        for (first = 0; first < filters; first += 16, row += 16, runs++) {
            for (lane = 0; lane < 16 && first + lane < filters; lane++)
                fill(y + (first + lane) * pixels, layer->bias != NULL ? layer->bias[row + lane] : 0.0f, pixels);
            for (run = 0; run < *runs; run++, run_slots++, run_branches++)
                for (i = 0; i < *run_branches; i++, branch++)
                    for (slot = 0; slot < *run_slots; slot++, weights += 16, indices += 16)
                        for (lane = 0; lane < 16; lane++)
                            if (indices[lane] < 32)
                                add_place(w, weights[lane], (size_t)*branch * 32 + indices[lane], x,
                                          y + (first + lane) * pixels);
        }
}
