"""Dimensions as numbers."""

from __future__ import annotations

from collections.abc import Mapping

from sparbor.program.program import Dimension


def size_at(dimension: Dimension, sizes: Mapping[str, int]) -> int:
    """The dimension as a number, for these sizes."""
    if isinstance(dimension, int):
        return dimension
    if isinstance(dimension, str):
        return sizes[dimension]
    operation, left, right = dimension[0], size_at(dimension[1], sizes), size_at(dimension[2], sizes)
    computed = {"+": left + right, "-": left - right, "*": left * right, "//": left // right}
    return computed[operation]
