/* A convolution or a pool over planes of bytes, of which all channels of a pixel lie one after another. */
struct byte_window {
    size_t channels, height, width, outputs, out_height, out_width, groups, kernel_height, kernel_width;
    int32_t stride_down, stride_across, top, left, bottom, right, dilation_down, dilation_across;
    int32_t zero; /* the byte of what lies beyond the border */
};

/* The pixel under a place of the window, or NULL beyond the border. */
static const uint8_t *pixel_under(const struct byte_window *w, const uint8_t *x, size_t i, size_t j, size_t ky, size_t kx)
{
    const int32_t row = (int32_t)i * w->stride_down + (int32_t)ky * w->dilation_down - w->top;
    const int32_t column = (int32_t)j * w->stride_across + (int32_t)kx * w->dilation_across - w->left;
    if (row < 0 || (size_t)row >= w->height || column < 0 || (size_t)column >= w->width)
        return NULL;
    return x + ((size_t)row * w->width + (size_t)column) * w->channels;
}
