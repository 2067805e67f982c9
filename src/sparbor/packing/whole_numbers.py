"""Weights of 8 bits: whole numbers from -127 to 127, times a scale of their neuron."""

import numpy as np
import numpy.typing as npt

from sparbor.errors import ArgumentError
from sparbor.packing.rounding import Floats, Integers, flips

LARGEST_WEIGHT = 127
LARGEST_INPUT = 255
LARGEST_SUM = 2**31 - 1  # sums have 32 bits

Signed = npt.NDArray[np.int8]


class TooLargeSumError(ArgumentError):
    """Weights whose products with bytes may add up to more than 32 bits hold."""

    def __init__(self, fault: str) -> None:
        super().__init__(f'{fault}; store it as word16, with deploy(weights="word16")')
        self.fault = fault


def scale_of(weight: Floats) -> Floats:
    """By neuron, what its largest weight is 127 times of; 1 where all are zero, or as good as that."""
    scale = np.abs(weight).max(axis=1) / np.float32(LARGEST_WEIGHT)
    return np.where(scale >= np.finfo(np.float32).tiny, scale, np.float32(1))


def whole_numbers(values: Floats, neuron: Integers, fan_in: int) -> Signed:
    """The nearest whole numbers, but for a few of each neuron's that bring the sum of its errors near to zero.

    Raises:
        TooLargeSumError: their products with bytes may add up to more than 32 bits hold.
    """
    values = np.clip(values, -LARGEST_WEIGHT, LARGEST_WEIGHT)
    whole = np.rint(values)
    errors = whole - values
    flipped = flips(errors, neuron, lambda chosen: (np.ones(len(chosen), np.float32), np.ones(len(chosen), np.bool_)))
    whole[flipped] -= np.sign(errors[flipped])
    _check_sums(whole, neuron, fan_in)
    return whole.astype(np.int8)


def _check_sums(weights: Floats, neuron: Integers, fan_in: int) -> None:
    largest = np.bincount(neuron, np.abs(weights)).max(initial=0)
    if largest * LARGEST_INPUT > LARGEST_SUM:
        raise TooLargeSumError(
            f"with a fan-in of {fan_in}, a neuron's 8-bit weights add up to {largest:,.0f}, and the engine's sums have"
            f" 32 bits: at most {LARGEST_SUM // LARGEST_INPUT:,}"
        )
