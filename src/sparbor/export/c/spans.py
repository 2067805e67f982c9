"""Where a window meets its plane, axis by axis: what the C code would otherwise compute at every pixel."""

from __future__ import annotations

import math
from typing import NamedTuple

from sparbor.program.windows import Planes, Window


class Span(NamedTuple):
    """Of output first + i · step, input at + i · move lies under a place of the window, for i below length."""

    first: int
    step: int
    at: int
    move: int
    length: int


def spans(window: Window, x: Planes, y: Planes) -> tuple[list[Span], list[Span]]:
    """Of each row of the window, and of each column."""
    down, across = (
        [
            _span(size, outputs, window.stride[axis], window.upsample[axis], place * window.dilation[axis] - before)
            for place in range(window.kernel[axis])
        ]
        for axis, size, outputs, before in (
            (0, x.height, y.height, window.padding[0]),
            (1, x.width, y.width, window.padding[1]),
        )
    )
    return down, across


def _span(size: int, outputs: int, stride: int, upsample: int, offset: int) -> Span:
    """Output o is over place o · stride + offset of the upsampled inputs, of which every `upsample`-th is an input."""
    common = math.gcd(stride, upsample)
    if offset % common:  # no output lies over an input
        return Span(0, 1, 0, 1, 0)
    step, move = upsample // common, stride // common
    first = -offset // common * pow(move, -1, step) % step
    if (before := -(first * stride + offset)) > 0:
        first += -(-before // (step * stride)) * step
    at = (first * stride + offset) // upsample
    if first >= outputs or at >= size:
        return Span(0, 1, 0, 1, 0)
    return Span(first, step, at, move, min((outputs - 1 - first) // step, (size - 1 - at) // move) + 1)
