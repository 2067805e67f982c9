"""How a convolution or a pool moves over its input's planes: sizes, and the numbers that the engine takes.

An item of shape (channels, height, width) is as many planes; one of shape (channels, length) has planes of height 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = tuple[int, int]
Sides: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True)
class Window:
    """Of a convolution or a pool; pairs are (down, across).

    `padding` is (top, left, bottom, right), of zeros for a convolution; negative, it crops. `upsample` u puts u - 1
    zeros between two pixels of the input, before it is padded: a transposed convolution of stride u.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Sides = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    upsample: Pair = (1, 1)
    groups: int = 1


@dataclass(frozen=True)
class AverageWindow(Window):
    """Of an average pool: what each sum is divided by.

    That is `divisor`, or if it is 0 the number of places under the window, those of the padding only
    if `include_padding`.
    """

    include_padding: bool = True
    divisor: int = 0


class Planes(NamedTuple):
    """The planes of one item."""

    channels: int
    height: int
    width: int


def planes_of(shape: Shape) -> Planes:
    """The planes of an item of two or three dimensions."""
    channels, *inside = shape
    height, width = inside if len(inside) == 2 else (1, *inside)
    return Planes(channels, height, width)


def geometry(window: Window, x: Planes, y: Planes) -> list[int]:
    """The numbers as the engine takes them, in its order."""
    steps = (*window.kernel, *window.stride, *window.padding, *window.dilation)
    return [*x, *y, *steps, window.groups, *window.upsample]
