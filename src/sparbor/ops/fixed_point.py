"""Factors as whole numbers: a product with one is shifted to the right, where there is no floating-point unit."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Wholes = npt.NDArray[np.int64]

_FACTOR_BITS = 29  # so that a product with a sum of 32 bits has room in 62 bits, and sums of a few of them in 63
_MOST_SHIFT = 61
_MOST_ADDED = 2.0**60


def shift_for(largest: float) -> int:
    """By how many bits to shift what was multiplied by factors of at most so much."""
    if largest <= 0:
        return _MOST_SHIFT
    return min(max(_FACTOR_BITS - math.frexp(largest)[1], 1), _MOST_SHIFT)


def whole(numbers: npt.NDArray[np.float64] | float, shift: int, largest: float = _MOST_ADDED) -> Wholes:
    """The numbers times 2 to the shift; what is beyond the largest gives the last byte or the first anyway."""
    rounded: Wholes = np.rint(np.clip(np.ldexp(numbers, shift), -largest, largest)).astype(np.int64)
    return rounded
