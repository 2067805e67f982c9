static void hyperbolic_tangent(const float *x, size_t count, float *y)
{
    size_t i;
    for (i = 0; i < count; i++)
        y[i] = tanhf(x[i]);
}
