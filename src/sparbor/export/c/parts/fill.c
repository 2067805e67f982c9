static void fill(float *y, float value, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        y[i] = value;
}
