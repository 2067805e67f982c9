static void clamp(const float *x, float low, float high, size_t count, float *y)
{
    size_t i;
    for (i = 0; i < count; i++)
        y[i] = x[i] < low ? low : x[i] > high ? high : x[i];
}
