/* A half's bits shifted into a float's are the same number 2^-112 times as large; exponent 31 never occurs. */
static float half_value(uint16_t word)
{
    const uint32_t bits = (uint32_t)(word & 0x8000u) << 16 | (uint32_t)(word & 0x7fffu) << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value * 0x1p112f;
}
