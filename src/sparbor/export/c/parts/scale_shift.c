static void scale_shift(const float *x, float scale, float shift, size_t count, float *y)
{
    size_t i;
    for (i = 0; i < count; i++)
        y[i] = x[i] * scale + shift;
}
