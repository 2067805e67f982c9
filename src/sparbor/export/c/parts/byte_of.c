/* The byte of a number that is given in steps, at least `low` and at most `high`; that of NaN is the zero. */
static uint8_t byte_of(float x, int32_t zero, int32_t low, int32_t high)
{
    const float known = x != x ? 0.0f : x, least = (float)(low - zero), most = (float)(high - zero);
    return (uint8_t)(nearest(known < least ? least : known > most ? most : known) + zero);
}
