"""How a convolution or a pool moves over its input's planes: sizes, and the numbers that the engine takes.

An item of shape (channels, height, width) is as many planes; one of shape (channels, length) has planes of height 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = tuple[int, int]
Sides: TypeAlias = tuple[int, int, int, int]

LARGEST_PADDED = 2**26  # numbers of all planes of one item, padding included
_LARGEST_STEP = 2**16
_LARGEST_DIVISOR = 2**63 - 1


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

    def padded(self, height: int, width: int) -> Pair:
        """The plane's size with what lies between its pixels and around them."""
        top, left, bottom, right = self.padding
        down, across = self.upsample
        return (height - 1) * down + 1 + top + bottom, (width - 1) * across + 1 + left + right

    def steps(self, height: int, width: int) -> Pair:
        """How often the window fits into a plane: the output's height and width."""
        down, across = (
            (size - dilation * (kernel - 1) - 1) // stride + 1
            for size, dilation, kernel, stride in zip(
                self.padded(height, width), self.dilation, self.kernel, self.stride, strict=True
            )
        )
        return down, across

    def steps_with_a_last(self, height: int, width: int) -> Pair:
        """The same if a last window may run over the edge, as in a pool with `ceil_mode`: it starts in the plane."""
        down, across = (
            min(-(-(size - dilation * (kernel - 1) - 1) // stride) + 1, -(-(before + inside) // stride))
            for size, dilation, kernel, stride, before, inside in zip(
                self.padded(height, width),
                self.dilation,
                self.kernel,
                self.stride,
                self.padding[:2],
                (height, width),
                strict=True,
            )
        )
        return down, across


@dataclass(frozen=True)
class AverageWindow(Window):
    """Of an average pool: what each sum is divided by.

    That is `divisor`, or if it is 0 the number of places under the window, those of the padding only
    if `include_padding`.
    """

    include_padding: bool = True
    divisor: int = 0


@dataclass(frozen=True)
class Planes:
    """The planes of one item."""

    channels: int
    height: int
    width: int

    @property
    def pixels(self) -> int:
        return self.height * self.width


def planes_of(shape: Shape) -> Planes:
    """The planes of an item of two or three dimensions."""
    channels, *inside = shape
    height, width = inside if len(inside) == 2 else (1, *inside)
    return Planes(channels, height, width)


def has_planes(shape: Shape) -> bool:
    """Whether it is (channels, length) or (channels, height, width)."""
    return len(shape) in (2, 3)


def geometry(window: Window, x: Planes, y: Planes) -> list[int]:
    """The numbers as the engine takes them, in its order."""
    return [
        *(x.channels, x.height, x.width),
        *(y.channels, y.height, y.width),
        *window.kernel,
        *window.stride,
        *window.padding,
        *window.dilation,
        window.groups,
        *window.upsample,
    ]


def window_fault(window: Window, x: Shape, y: Shape) -> str | None:
    """What keeps the window from its input or its output, if anything does; counts and bounds are checked here."""
    steps = (*window.kernel, *window.stride, *window.dilation, *window.upsample)
    if not all(1 <= step <= _LARGEST_STEP for step in steps) or max(map(abs, window.padding)) > _LARGEST_STEP:
        return f"its steps are not between 1 and {_LARGEST_STEP}, or its padding is beyond that"
    if not has_planes(x) or len(y) != len(x):
        return f"it goes from {len(x)} to {len(y)} dimensions, not from 2 or 3 to as many"
    source, target = planes_of(x), planes_of(y)
    if window.groups < 1 or source.channels % window.groups or target.channels % window.groups:
        return f"its {window.groups} groups do not divide {source.channels} and {target.channels} channels"
    height, width = window.padded(source.height, source.width)
    if min(height, width) < 1 or source.channels * height * width > LARGEST_PADDED:
        return (
            f"its padded planes, {source.channels} × {height} × {width}, are empty or beyond {LARGEST_PADDED} numbers"
        )
    return None


def convolution_fault(window: Window, x: Shape, y: Shape) -> str | None:
    """As `window_fault`, for a convolution."""
    if fault := window_fault(window, x, y):
        return fault
    source, target = planes_of(x), planes_of(y)
    if window.steps(source.height, source.width) != (target.height, target.width):
        return f"its outputs are {window.steps(source.height, source.width)} pixels"
    return None


def pool_fault(window: Window, x: Shape, y: Shape) -> str | None:
    """As `window_fault`, for a pool."""
    if fault := window_fault(window, x, y):
        return fault
    source, target = planes_of(x), planes_of(y)
    if window.groups != source.channels or target.channels != source.channels or window.upsample != (1, 1):
        return "it does not pool each channel by itself"
    if any(not 0 <= 2 * side <= kernel for side, kernel in zip(window.padding, window.kernel * 2, strict=True)):
        return f"its padding {window.padding} is more than half its kernel {window.kernel}, or negative"
    possible = window.steps(source.height, source.width), window.steps_with_a_last(source.height, source.width)
    fits = zip((target.height, target.width), zip(*possible, strict=True), strict=True)
    if not all(given in each for given, each in fits):
        return f"its outputs are {possible[0]} pixels"
    if isinstance(window, AverageWindow) and (not 0 <= window.divisor <= _LARGEST_DIVISOR or window.dilation != (1, 1)):
        return f"it averages with divisor {window.divisor} and dilation {window.dilation}"
    return None
