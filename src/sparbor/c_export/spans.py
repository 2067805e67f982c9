"""Where a window meets its plane, axis by axis: what the C code would otherwise compute at every pixel."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sparbor.windows import Planes, Window


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
    step = upsample // math.gcd(stride, upsample)
    aligned = [o for o in range(step) if (o * stride + offset) % upsample == 0]
    if not aligned:
        return Span(0, 1, 0, 1, 0)
    first, move = aligned[0], step * stride // upsample
    if (before := -(first * stride + offset)) > 0:
        first += -(-before // (step * stride)) * step
    at = (first * stride + offset) // upsample
    if first >= outputs or at >= size:
        return Span(0, 1, 0, 1, 0)
    return Span(first, step, at, move, min((outputs - 1 - first) // step, (size - 1 - at) // move) + 1)


def counted_places(
    kernel: int, stride: int, size: int, padding: tuple[int, int], outputs: int, include_padding: bool
) -> npt.NDArray[np.uint32]:
    """How many places of an average pool's window count along an axis, for each output."""
    before, after = padding
    start = np.arange(outputs, dtype=np.int64) * stride - before
    end = np.minimum(start + kernel, size + after)
    if not include_padding:
        start, end = np.maximum(start, 0), np.minimum(end, size)
    return (end - start).astype(np.uint32)
