/* 16 filters at a time; with several groups of channels, each one's last 16 may be partly filled. */
static void convolution_sparse_words(const struct sparse_words *layer, const struct window *w, const float *x, float *y)
{
    const size_t inputs = w->channels / w->groups * w->height * w->width, pixels = w->out_height * w->out_width;
    const size_t filters = w->out_channels / w->groups;
    const uint16_t *runs = layer->runs_per_group, *run_slots = layer->run_slots;
    const uint16_t *run_branches = layer->run_branches, *branch = layer->branches, *words = layer->words;
    size_t group, first, row = 0, run, i, slot, lane;
    fill(y, 0.0f, w->out_channels * pixels);
    for (group = 0; group < w->groups; group++, x += inputs, y += filters * pixels)
        for (first = 0; first < filters; first += 16, row += 16, runs++) {
            for (run = 0; run < *runs; run++, run_slots++, run_branches++)
                for (i = 0; i < *run_branches; i++, branch++)
                    for (slot = 0; slot < *run_slots; slot++, words += 16)
                        for (lane = 0; lane < 16; lane++)
                            if (words[lane] != 0)
                                add_place(w, half_value(words[lane]), (size_t)*branch * 32 + (words[lane] & 31u), x,
                                          y + (first + lane) * pixels);
            for (lane = 0; lane < 16 && first + lane < filters; lane++)
                scale_shift(y + (first + lane) * pixels, layer->scale[row + lane],
                            layer->bias != NULL ? layer->bias[row + lane] : 0.0f, pixels,
                            y + (first + lane) * pixels);
        }
}
