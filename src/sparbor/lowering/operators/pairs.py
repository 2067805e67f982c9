"""PyTorch's settings for one dimension or two, as pairs (down, across)."""

from __future__ import annotations

from collections.abc import Sequence

from sparbor.program.windows import Pair


def pair(setting: int | Sequence[int], dimensions: int, beside: int = 1) -> Pair:
    """Down and across; one number may stand for both. A sequence is an image of height 1: down, it has `beside`."""
    given = [setting] if isinstance(setting, int) else setting
    return (beside, given[0]) if dimensions == 1 else (given[0], given[-1])
