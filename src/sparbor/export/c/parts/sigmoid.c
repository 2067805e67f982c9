static void sigmoid(const float *x, size_t count, float *y)
{
    size_t i;
    for (i = 0; i < count; i++)
        y[i] = 1.0f / (1.0f + expf(-x[i]));
}
