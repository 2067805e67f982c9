/* Planes in and out of an adaptive pool: output i of n is over inputs floor(i m / n) to ceil((i + 1) m / n) of m. */
struct planes {
    size_t channels, height, width, out_height, out_width;
};
