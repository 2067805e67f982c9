static void scale_shift_rows(const float *x, const float *scale, const float *shift, size_t features, size_t rows, float *y)
{
    size_t i;
    for (; rows > 0; rows--, x += features, y += features)
        for (i = 0; i < features; i++)
            y[i] = x[i] * scale[i] + shift[i];
}
