/*
 * A row of floats as bytes: x is nearly (byte - *zero) * step, and step is returned. 0 is a whole number; the smallest
 * number becomes 0 if it is negative, the largest 255 if it is positive. The step of a row with a number that is
 * infinite or NaN is NaN, so that all that is computed of it is. Sixteen partial results fit vector registers.
 */
static float to_bytes(const float *x, size_t count, uint8_t *bytes, int32_t *zero)
{
    float lows[16] = {0}, highs[16] = {0}, low = 0.0f, high = 0.0f, step, steps;
    int32_t strange[16] = {0}, any_strange = 0;
    size_t i, lane;
    for (i = 0; i < count; i += 16)
        for (lane = 0; lane < 16 && i + lane < count; lane++) {
            const float value = x[i + lane];
            lows[lane] = value < lows[lane] ? value : lows[lane];
            highs[lane] = value > highs[lane] ? value : highs[lane];
            strange[lane] |= !(value - value == 0.0f);
        }
    for (lane = 0; lane < 16; lane++) {
        low = lows[lane] < low ? lows[lane] : low;
        high = highs[lane] > high ? highs[lane] : high;
        any_strange |= strange[lane];
    }
    step = (high - low) / 255.0f;
    *zero = 0;
    if (any_strange || step == INFINITY)
        return NAN;
    if (step < 0x1p-126f)
        step = 1.0f;
    steps = 1.0f / step;
    *zero = nearest(-low * steps);
    for (i = 0; i < count; i++) {
        const float scaled = x[i] * steps;
        const int32_t byte = nearest(scaled) + *zero;
        bytes[i] = (uint8_t)(byte < 0 ? 0 : byte > 255 ? 255 : byte);
    }
    return step;
}
