/* Summed row by row, which keeps more digits than one long sum. */
static void adaptive_average_pool(const struct planes *p, const float *x, float *y)
{
    size_t channel, i, j, row;
    for (channel = 0; channel < p->channels; channel++, x += p->height * p->width)
        for (i = 0; i < p->out_height; i++)
            for (j = 0; j < p->out_width; j++, y++) {
                const size_t top = i * p->height / p->out_height, left = j * p->width / p->out_width;
                const size_t bottom = ((i + 1) * p->height + p->out_height - 1) / p->out_height;
                const size_t right = ((j + 1) * p->width + p->out_width - 1) / p->out_width;
                float total = 0.0f;
                for (row = top; row < bottom; row++)
                    total += sum(x + row * p->width + left, right - left);
                *y = total / (float)((bottom - top) * (right - left));
            }
}
