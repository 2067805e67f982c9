static void layer_norm(const float *x, const float *scale, const float *shift, float epsilon, size_t features,
                       size_t rows, float *y)
{
    size_t i;
    for (; rows > 0; rows--, x += features, y += features) {
        const float mean = sum(x, features) / (float)features;
        float squares[16] = {0}, by;
        for (i = 0; i < features; i++)
            squares[i % 16] += (x[i] - mean) * (x[i] - mean);
        by = 1.0f / sqrtf(sum(squares, 16) / (float)features + epsilon);
        for (i = 0; i < features; i++)
            y[i] = (x[i] - mean) * by;
        if (scale != NULL && shift != NULL)
            for (i = 0; i < features; i++)
                y[i] = y[i] * scale[i] + shift[i];
    }
}
