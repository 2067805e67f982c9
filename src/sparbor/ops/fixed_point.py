"""Factors as whole numbers: a product with one is shifted to the right, where there is no floating-point unit."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Wholes = npt.NDArray[np.int64]

_FACTOR_BITS = 29  # so that a product with a sum of 32 bits is at most 2^60, and what is added to it 2^60 and 2^61
_MOST_SHIFT = 61
MOST_FACTOR = 2.0**_FACTOR_BITS
MOST_ADDED = 2.0**60
MOST_STEP = 2.0**53  # 255 of which are less than 2^61


def shift_for(largest: float) -> int:
    """By how many bits to shift what was multiplied by factors of at most so much."""
    if largest <= 0:
        return _MOST_SHIFT
    return min(max(_FACTOR_BITS - math.frexp(largest)[1], 1), _MOST_SHIFT)


def whole(numbers: npt.NDArray[np.float64] | float, shift: int, largest: float) -> Wholes:
    """The numbers times 2 to the shift; what is beyond the largest gives the last byte or the first anyway."""
    rounded: Wholes = np.rint(np.clip(np.ldexp(numbers, shift), -largest, largest)).astype(np.int64)
    return rounded
