static void gelu(const float *x, size_t count, float *y)
{
    size_t i;
    for (i = 0; i < count; i++)
        y[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.707106781f));
}
