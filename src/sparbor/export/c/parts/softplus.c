static void softplus(const float *x, float beta, float threshold, size_t count, float *y)
{
    size_t i;
    for (i = 0; i < count; i++) {
        const float v = x[i] * beta;
        y[i] = v > threshold ? x[i] : ((v > 0.0f ? v : 0.0f) + log1pf(expf(-fabsf(v)))) / beta;
    }
}
