/* To the nearest whole number, of two the even one, if it is below 2^22: of so large a sum no bits stand behind it. */
static int32_t nearest(float x)
{
    const float sum = x + 0x1.8p23f;
    int32_t bits;
    memcpy(&bits, &sum, sizeof bits);
    return bits - 0x4b400000;
}
