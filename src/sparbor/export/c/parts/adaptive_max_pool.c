/* A NaN wins and stays. */
static void adaptive_max_pool(const struct planes *p, const float *x, float *y)
{
    size_t channel, i, j, row, column;
    for (channel = 0; channel < p->channels; channel++, x += p->height * p->width)
        for (i = 0; i < p->out_height; i++)
            for (j = 0; j < p->out_width; j++, y++) {
                const size_t top = i * p->height / p->out_height, left = j * p->width / p->out_width;
                const size_t bottom = ((i + 1) * p->height + p->out_height - 1) / p->out_height;
                const size_t right = ((j + 1) * p->width + p->out_width - 1) / p->out_width;
                float most = -INFINITY;
                for (row = top; row < bottom; row++)
                    for (column = left; column < right; column++) {
                        const float value = x[row * p->width + column];
                        most = value > most || value != value ? value : most;
                    }
                *y = most;
            }
}
