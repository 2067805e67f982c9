static void add(const float *left, const float *right, size_t count, float *y)
{
    size_t i;
    for (i = 0; i < count; i++)
        y[i] = left[i] + right[i];
}
