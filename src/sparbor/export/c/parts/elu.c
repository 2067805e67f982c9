static void elu(const float *x, float alpha, float scale, size_t count, float *y)
{
    size_t i;
    for (i = 0; i < count; i++)
        y[i] = scale * (x[i] < 0.0f ? alpha * expm1f(x[i]) : x[i]);
}
