"""How often a window fits into a plane, for tests that make programs of any window."""

from sparbor.program.windows import Pair, Window


def padded(window: Window, height: int, width: int) -> Pair:
    """The plane's size with what lies between its pixels and around them."""
    top, left, bottom, right = window.padding
    down, across = window.upsample
    return (height - 1) * down + 1 + top + bottom, (width - 1) * across + 1 + left + right


def steps(window: Window, height: int, width: int) -> Pair:
    """How often the window fits: the output's height and width."""
    down, across = (
        (size - dilation * (kernel - 1) - 1) // stride + 1
        for size, dilation, kernel, stride in zip(
            padded(window, height, width), window.dilation, window.kernel, window.stride, strict=True
        )
    )
    return down, across


def steps_with_a_last(window: Window, height: int, width: int) -> Pair:
    """The same if a last window may run over the edge, as in a pool with `ceil_mode`: it starts in the plane."""
    down, across = (
        min(-(-(size - dilation * (kernel - 1) - 1) // stride) + 1, -(-(before + inside) // stride))
        for size, dilation, kernel, stride, before, inside in zip(
            padded(window, height, width),
            window.dilation,
            window.kernel,
            window.stride,
            window.padding[:2],
            (height, width),
            strict=True,
        )
    )
    return down, across
