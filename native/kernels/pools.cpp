// Pools over planes, as plain loops; compiled like elementwise.cpp, once for each kernel set.
#include "vectors.h"

namespace sparbor::SPARBOR_KERNELS {
namespace {

constexpr float infinity = __builtin_inff();

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t greatest(int64_t a, int64_t b) { return a > b ? a : b; }

// A window's maximum: NaN wins and stays.
struct Greatest {
    static constexpr float start = -infinity;
    static float take(float so_far, float x) { return x > so_far || x != x ? x : so_far; }
    static Vector take(Vector so_far, Vector x) { return ((x > so_far) | (x != x)) ? x : so_far; }
};

struct Total {
    static constexpr float start = 0;
    static float take(float so_far, float x) { return so_far + x; }
    static Vector take(Vector so_far, Vector x) { return so_far + x; }
};

constexpr int64_t span_floats = 2048;  // that a row of windows works on at once

// For some columns, what the windows' rows make of them. Places outside of the plane count for nothing.
template <class Window>
void take_rows(const Geometry& g, const float* plane, int64_t out_row, int64_t first, int64_t count, float* columns) {
    const int64_t begin = clamp(-first, 0, count), end = clamp(g.width - first, begin, count);
    int64_t top = out_row * g.stride_h - g.pad_top, bottom = top + (g.kernel_h - 1) * g.dilation_h;
    while (top < 0) top += g.dilation_h;
    while (bottom >= g.height) bottom -= g.dilation_h;
    const float* const x = plane + top * g.width + first;
    const auto take = [&](int64_t i, int64_t lanes_inside) {
        Vector taken = Window::start - Vector{};
        const float* row = x + i;
        for (int64_t at = top; at <= bottom; at += g.dilation_h, row += g.dilation_h * g.width)
            taken = Window::take(taken, load_between(row, 0, lanes_inside));
        store(columns + i, taken);
    };
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) take(i, lanes);
    if (i < end) take(i, end - i);
    fill(columns, begin, Window::start);
    fill(columns + end, count - end, Window::start);
}

// A vector of windows' part of those columns.
template <class Window>
Vector take_columns(const Geometry& g, const float* columns) {
    Vector taken = Window::start - Vector{};
    for (int64_t kx = 0; kx < g.kernel_w; kx++) {
        const float* x = columns + kx * g.dilation_w;
        if (g.stride_w == 1) {
            taken = Window::take(taken, load(x));
        } else if (g.stride_w == 2) {
            taken = Window::take(taken, seconds<0>(load(x), load(x + lanes)));
        } else {
            Vector chosen;
            for (int64_t lane = 0; lane < lanes; lane++) chosen[lane] = x[lane * g.stride_w];
            taken = Window::take(taken, chosen);
        }
    }
    return taken;
}

// One window whose taps lie too far from each other for the above.
template <class Window>
float take_window(const Geometry& g, const float* plane, int64_t out_row, int64_t out_column) {
    float taken = Window::start;
    for (int64_t ky = 0; ky < g.kernel_h; ky++)
        for (int64_t kx = 0; kx < g.kernel_w; kx++) {
            const int64_t row = out_row * g.stride_h + ky * g.dilation_h - g.pad_top;
            const int64_t column = out_column * g.stride_w + kx * g.dilation_w - g.pad_left;
            if (row >= 0 && row < g.height && column >= 0 && column < g.width)
                taken = Window::take(taken, plane[row * g.width + column]);
        }
    return taken;
}

// How many windows of a row are computed at once: as many as their columns fit.
int64_t windows_at_once(const Geometry& g) {
    const int64_t reach = (g.kernel_w - 1) * g.dilation_w + 1;
    return (span_floats - reach - 2 * lanes) / g.stride_w / lanes * lanes;
}

template <class Window>
void pool_row(const Geometry& g, const float* plane, int64_t out_row, int64_t at_once, float* y) {
    float columns[span_floats];
    const int64_t reach = (g.kernel_w - 1) * g.dilation_w + 1;
    if (at_once <= 0) {
        for (int64_t i = 0; i < g.out_width; i++) y[i] = take_window<Window>(g, plane, out_row, i);
        return;
    }
    for (int64_t first = 0; first < g.out_width; first += at_once) {
        const int64_t windows = least(at_once, g.out_width - first);
        const int64_t start = first * g.stride_w - g.pad_left, count = (windows - 1) * g.stride_w + reach;
        take_rows<Window>(g, plane, out_row, start, count, columns);
        for (int64_t i = 0; i < windows; i += lanes) {
            const Vector taken = take_columns<Window>(g, columns + i * g.stride_w);
            if (i + lanes <= windows) store(y + first + i, taken);
            else for (int64_t lane = 0; lane < windows - i; lane++) y[first + i + lane] = taken[lane];
        }
    }
}

// 2 × 2 windows that share no pixel and leave none out but a last row.
bool halves_planes(const Geometry& g) {
    return g.kernel_h == 2 && g.kernel_w == 2 && g.stride_h == 2 && g.stride_w == 2 && g.pad_top == 0 &&
           g.pad_left == 0 && g.dilation_h == 1 && g.dilation_w == 1 && g.width == 2 * g.out_width &&
           g.height >= 2 * g.out_height && g.width <= span_floats;
}

// Pairs of rows become one row, some of them one after the other, and then pairs of their numbers one number.
template <class Window>
void halve(const Geometry& g, const float* plane, float* y) {
    float rows[span_floats + 2 * lanes];
    const int64_t at_once = span_floats / g.width;
    for (int64_t row = 0; row < g.out_height; row += at_once) {
        const int64_t count = least(at_once, g.out_height - row);
        for (int64_t r = 0; r < count; r++) {
            const float* x = plane + 2 * (row + r) * g.width;
            for (int64_t i = 0; i < g.width; i += lanes)
                store(rows + r * g.width + i, Window::take(load_between(x + i, 0, g.width - i),
                                                           load_between(x + g.width + i, 0, g.width - i)));
        }
        const int64_t results = count * g.out_width;
        for (int64_t i = 0; i < results; i += lanes, y += lanes) {
            const Vector low = load(rows + 2 * i), high = load(rows + 2 * i + lanes);
            const Vector taken = Window::take(seconds<0>(low, high), seconds<1>(low, high));
            if (i + lanes <= results) store(y, taken);
            else for (int64_t lane = 0; lane < results - i; lane++) y[lane] = taken[lane];
        }
        y += results - (results + lanes - 1) / lanes * lanes;
    }
}

void max_pool(const Geometry& g, const float* plane, float* y) {
    if (halves_planes(g)) return halve<Greatest>(g, plane, y);
    const int64_t at_once = windows_at_once(g);
    for (int64_t row = 0; row < g.out_height; row++, y += g.out_width) pool_row<Greatest>(g, plane, row, at_once, y);
}

// How many of a window's positions count along one axis.
int64_t positions(int64_t start, int64_t kernel, int64_t size, int64_t pad_after, bool count_padding) {
    const int64_t end = least(start + kernel, size + pad_after);
    return count_padding ? end - start : least(end, size) - greatest(start, 0);
}

void average_pool(const Geometry& g, const float* plane, float* y, bool count_padding, float divisor) {
    const int64_t at_once = windows_at_once(g);
    for (int64_t row = 0; row < g.out_height; row++, y += g.out_width) {
        pool_row<Total>(g, plane, row, at_once, y);
        const int64_t high =
            positions(row * g.stride_h - g.pad_top, g.kernel_h, g.height, g.pad_bottom, count_padding);
        for (int64_t i = 0; i < g.out_width; i++) {
            const int64_t wide =
                positions(i * g.stride_w - g.pad_left, g.kernel_w, g.width, g.pad_right, count_padding);
            y[i] /= divisor != 0 ? divisor : static_cast<float>(high * wide);
        }
    }
}

// Sixteen of a row's numbers at a time, because a compiler may not reorder one sum.
template <class Window>
float pool_run(const float* x, int64_t count, float so_far) {
    float taken[16];
    fill(taken, 16, Window::start);
    int64_t i = 0;
    for (; i + 16 <= count; i += 16)
        for (int64_t lane = 0; lane < 16; lane++) taken[lane] = Window::take(taken[lane], x[i + lane]);
    for (; i < count; i++) taken[0] = Window::take(taken[0], x[i]);
    for (const float each : taken) so_far = Window::take(so_far, each);
    return so_far;
}

template <class Window>
void adaptive_pool(const Geometry& g, const float* plane, float* y, bool average) {
    for (int64_t row = 0; row < g.out_height; row++)
        for (int64_t column = 0; column < g.out_width; column++) {
            const int64_t top = row * g.height / g.out_height, bottom = divide_up((row + 1) * g.height, g.out_height);
            const int64_t left = column * g.width / g.out_width;
            const int64_t right = divide_up((column + 1) * g.width, g.out_width);
            float value = Window::start;
            if (right - left == g.width)
                value = pool_run<Window>(plane + top * g.width, (bottom - top) * g.width, value);
            else
                for (int64_t r = top; r < bottom; r++)
                    value = pool_run<Window>(plane + r * g.width + left, right - left, value);
            y[row * g.out_width + column] =
                average ? value / static_cast<float>((bottom - top) * (right - left)) : value;
        }
}

void adaptive_max(const Geometry& g, const float* plane, float* y) { adaptive_pool<Greatest>(g, plane, y, false); }
void adaptive_average(const Geometry& g, const float* plane, float* y) { adaptive_pool<Total>(g, plane, y, true); }

}  // namespace

const Pools pools{max_pool, average_pool, adaptive_max, adaptive_average};

}  // namespace sparbor::SPARBOR_KERNELS
