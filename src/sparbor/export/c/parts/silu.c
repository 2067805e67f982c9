static void silu(const float *x, size_t count, float *y)
{
    size_t i;
    for (i = 0; i < count; i++)
        y[i] = x[i] / (1.0f + expf(-x[i]));
}
