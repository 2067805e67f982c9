/* Rounded; what lies between two becomes the larger one. Below -2^62 there is nothing. */
static uint8_t rounded_byte(const struct byte_ending *end, int64_t value)
{
    const uint64_t one = (uint64_t)1 << 62, half = (uint64_t)1 << (end->shift - 1);
    const int64_t steps = (int64_t)(((uint64_t)value + one + half) >> end->shift) - (int64_t)(one >> end->shift);
    const int64_t byte = steps + end->zero;
    return (uint8_t)(byte < end->low ? end->low : byte > end->high ? end->high : byte);
}
