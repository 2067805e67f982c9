static void softmax(const float *x, size_t features, size_t rows, float *y)
{
    size_t i;
    for (; rows > 0; rows--, x += features, y += features) {
        float most = -INFINITY, total;
        for (i = 0; i < features; i++)
            most = x[i] > most ? x[i] : most;
        for (i = 0; i < features; i++)
            y[i] = expf(x[i] - most);
        total = sum(y, features);
        for (i = 0; i < features; i++)
            y[i] /= total;
    }
}
