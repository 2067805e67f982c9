"""Windows over planes, as ONNX describes them: strides, dilations and the padding at each side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from sparbor.onnx_import.node import Node


@dataclass(frozen=True)
class Window:
    """What a node says of its window; ``before`` and ``after`` are the padding, dimension by dimension."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[Any]
    after: list[Any]

    @property
    def even(self) -> bool:
        """Whether both sides of each dimension have as much padding."""
        return self.before == self.after

    def reach(self, place: int) -> int:
        """Over how many places the window goes."""
        return self.dilations[place] * (self.kernel[place] - 1) + 1


def window_of(node: Node, x: Tensor, kernel: Sequence[int]) -> Window:
    """The window of a convolution or of a pool over what it is given."""
    dimensions = len(kernel)
    strides = list(node.get("strides", [1] * dimensions))
    dilations = list(node.get("dilations", [1] * dimensions))
    pads = list(node.get("pads", [0] * 2 * dimensions))
    window = Window(list(kernel), strides, dilations, pads[:dimensions], pads[dimensions:])
    if (way := node.get("auto_pad", "NOTSET")).startswith("SAME"):
        return _as_large(window, list(x.shape[2:]), upper=way == "SAME_UPPER")
    if way == "VALID":
        return Window(list(kernel), strides, dilations, [0] * dimensions, [0] * dimensions)
    return window


def _as_large(window: Window, sizes: list[Any], upper: bool) -> Window:
    """So much padding that there is an output for each stride; the odd place is behind, or before."""
    totals = [_total(window, place, size) for place, size in enumerate(sizes)]
    less, more = [each // 2 for each in totals], [each - each // 2 for each in totals]
    before, after = (less, more) if upper else (more, less)
    return Window(window.kernel, window.strides, window.dilations, before, after)


def _total(window: Window, place: int, size: Any) -> Any:
    reach, stride = window.reach(place), window.strides[place]
    if stride == 1:
        return reach - 1
    return max(0, (-(-size // stride) - 1) * stride + reach - size)


def padded(x: Tensor, window: Window, value: float = 0.0) -> Tensor:
    """With that value around it."""
    sides = [side for pair in reversed(list(zip(window.before, window.after, strict=True))) for side in pair]
    return F.pad(x, sides, value=value)
