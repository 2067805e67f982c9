/*
 * Where one place of a window meets its plane along one axis: of output number first + i * step, input number
 * at + i * move lies under it, for i from 0 to count - 1; elsewhere padding does.
 */
struct span {
    uint32_t first, step, at, move, count;
};

/* A convolution or a pool: planes in and out, and the spans of the window's rows and columns. */
struct window {
    size_t channels, height, width, out_channels, out_height, out_width, groups, kernel_height, kernel_width;
    const struct span *down, *across;
};
