"""Windows' settings for one dimension or two, as pairs (down, across): of PyTorch's numbers, and back for ONNX."""

from __future__ import annotations

from collections.abc import Sequence

from sparbor.errors import ArgumentError
from sparbor.program.program import Operation
from sparbor.program.windows import Pair, Window


def pair(setting: int | Sequence[int], dimensions: int, beside: int = 1) -> Pair:
    """Down and across; one number may stand for both. A sequence is an image of height 1: down, it has `beside`."""
    given = [setting] if isinstance(setting, int) else setting
    return (beside, given[0]) if dimensions == 1 else (given[0], given[-1])


def last(pair: Sequence[int], rank: int) -> list[int]:
    """A window's (down, across) for so many dimensions."""
    return list(pair[2 - rank :])


def sides(window: Window, rank: int) -> tuple[list[int], list[int]]:
    """The padding before and after each dimension."""
    return last(window.padding[:2], rank), last(window.padding[2:], rank)


def check_is_flat(operation: Operation, window: Window, rank: int) -> None:
    """A window over items of two dimensions must not reach beyond their planes of height 1."""
    if rank == 1 and (window.kernel[0] != 1 or window.padding[::2] != (0, 0)):
        raise ArgumentError(
            f"operation {operation.kind!r}, which computes value {operation.output}, moves a window of height "
            f"{window.kernel[0]} over rows: ONNX has no such thing; give the items three dimensions"
        )
