"""Weights to 16-bit synapse words: each to the nearest, or so that the rounding errors of a neuron cancel.

A word's low five bits are given, its input's index within the branch; rounding chooses the other eleven.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sparbor.packing.rounding import flips

Floats: TypeAlias = npt.NDArray[np.float32]
Words: TypeAlias = npt.NDArray[np.uint16]
Integers: TypeAlias = npt.NDArray[np.integer]

_STEP = 32  # between two neighbouring words of one index
_SIGN = 0x8000
_LARGEST_UPPER = 0x3DF  # exponent 30, all five mantissa bits: the largest that is not infinite or NaN
_LARGEST_ERROR = np.float32(1 / 64)  # of a nearest word, as a share of its weight, if that is a normal half


def nearest_words(values: Floats, index: Integers) -> Words:
    """The words with these index bits whose values are nearest, saturated; none is the padding word."""
    magnitude = np.minimum(np.abs(values), np.float32(65504))
    upper = (magnitude.astype(np.float16).view(np.uint16) // _STEP).astype(np.int32)
    best = np.zeros(values.shape, np.uint16)
    least = np.full(values.shape, np.inf, np.float32)
    for step in (-1, 0, 1):
        candidate = (np.clip(upper + step, 0, _LARGEST_UPPER) * _STEP | index).astype(np.uint16)
        error = np.abs(_values(candidate) - magnitude)
        best, least = np.where(error < least, candidate, best), np.minimum(error, least)
    words = best | np.where(np.signbit(values), np.uint16(_SIGN), np.uint16(0))
    words[words == 0] = _SIGN
    return words


def balanced_words(values: Floats, index: Integers, neuron: Integers) -> Words:
    """Nearest words, but for a few of each neuron's that bring the sum of its rounding errors near to zero.

    None flips to more than 1/64 of its weight away, which is as far as the nearest word of a normal half may be.

    Args:
        values: weights divided by their neuron's scale, less than 2^15 in size, one for each synapse.
        index: each one's input within its branch.
        neuron: each one's neuron, from 0, in ascending order.
    """
    words = nearest_words(values, index)
    errors = _values(words) - values

    def steps(chosen: Integers) -> tuple[Floats, npt.NDArray[np.bool_]]:
        step = np.abs(_values(_across(words[chosen], errors[chosen])) - _values(words[chosen]))
        return step, step - np.abs(errors[chosen]) <= np.abs(values[chosen]) * _LARGEST_ERROR

    flipped = flips(errors, neuron, steps)
    words[flipped] = _across(words[flipped], errors[flipped])
    return words


def _across(words: Words, errors: Floats) -> Words:
    """The neighbours of these words beyond the weights that they miss by `errors`."""
    too_far_out = (errors > 0) == (words < _SIGN)
    return np.where(too_far_out, words - _STEP, words + _STEP).astype(np.uint16)


def _values(words: Words) -> Floats:
    return words.view(np.float16).astype(np.float32)
