static void relu(const float *x, size_t count, float *y)
{
    size_t i;
    for (i = 0; i < count; i++)
        y[i] = x[i] < 0.0f ? 0.0f : x[i];
}
