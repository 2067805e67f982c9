"""Weights to 16-bit synapse words: each to the nearest, or so that the rounding errors of a neuron cancel.

A word's low five bits are given, its input's index within the branch; rounding chooses the other eleven.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

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

    A neuron's output is off by Σ error × input. Inputs are often of one sign, as after ReLU, or alike, as the
    pixels under a small filter: what they have in common meets the sum of the errors. So words that err as the sum
    does flip to the other side of their weight, those first that add least to the squared errors for what they take
    off the sum, for as long as it shrinks (SQuant, Guo et al., 2022, does so with integers). None flips to more than
    1/64 of its weight away, which is as far as the nearest word of a normal half may be.

    Args:
        values: weights divided by their neuron's scale, less than 2^15 in size, one for each synapse.
        index: each one's input within its branch.
        neuron: each one's neuron, from 0, in ascending order.
    """
    words = nearest_words(values, index)
    errors = _values(words) - values
    excess = np.bincount(neuron, errors)
    chosen = np.flatnonzero(errors * excess[neuron] > 0)
    near, error = words[chosen], np.abs(errors[chosen])
    other = _across(near, errors[chosen])
    step = np.abs(_values(other) - _values(near))
    may_flip = step - error <= np.abs(values[chosen]) * _LARGEST_ERROR
    chosen, other, step, error = chosen[may_flip], other[may_flip], step[may_flip], error[may_flip]

    # Flipping takes `step` off the sum and adds step × cost to the squared errors. One key sorts faster than two.
    cost = (step - 2 * error).astype(np.float64)
    order = np.argsort(neuron[chosen] + cost / (1 + cost.max(initial=0)), kind="stable")
    chosen, other, step = chosen[order], other[order], step[order].astype(np.float64)
    of = neuron[chosen]
    before = np.cumsum(step) - step
    before -= before[np.searchsorted(of, of)]
    helps = before + step / 2 < np.abs(excess[of])
    words[chosen[helps]] = other[helps]
    return words


def _across(words: Words, errors: Floats) -> Words:
    """The neighbours of these words beyond the weights that they miss by `errors`."""
    too_far_out = (errors > 0) == (words < _SIGN)
    return np.where(too_far_out, words - _STEP, words + _STEP).astype(np.uint16)


def _values(words: Words) -> Floats:
    return words.view(np.float16).astype(np.float32)
