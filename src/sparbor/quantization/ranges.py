"""Which step and zero round a value's numbers to bytes with the least squared error.

A first pass over the calibration inputs finds each value's smallest and largest number, a second one how its numbers
are distributed between them. The range from the smallest to the largest rounds none away; a narrower one has a finer
step, and what lies outside of it becomes its ends. Of all these the one with the least squared error is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sparbor.program.program import Program, Quantization
from sparbor.quantization.watching import Batch, Floats, watched

_Float = TypeVar("_Float", np.float32, np.float64)

LEVELS = 255  # steps between the smallest byte and the largest

_BINS = 4096
_SAMPLE = 1 << 17  # numbers of a value in a few items, which say well enough how all of them are distributed
_SHARES = tuple(1 - each / 25 for each in range(21))  # of the range, to which it may be narrowed


@dataclass(frozen=True)
class Range:
    """What a value's numbers are between; 0 always is."""

    low: float
    high: float

    @property
    def is_finite(self) -> bool:
        """Whether no number was infinite or NaN."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    @property
    def is_empty(self) -> bool:
        """Whether all numbers are zero."""
        return self.low == self.high

    def and_of(self, numbers: Floats) -> Range:
        """The range of these numbers too; NaN makes it one that is not finite."""
        return Range(float(np.minimum(self.low, numbers.min())), float(np.maximum(self.high, numbers.max())))


def ranges(program: Program, values: Sequence[int], batches: Sequence[Batch]) -> dict[int, Range]:
    """By value, what its numbers are between for these inputs."""
    found = dict.fromkeys(values, Range(0.0, 0.0))
    for numbers in watched(program, values, batches):
        found = {value: found[value].and_of(array) for value, array in numbers.items()}
    return found


def quantizations(program: Program, known: Mapping[int, Range], batches: Sequence[Batch]) -> dict[int, Quantization]:
    """By value, the step and the zero with the least squared error for these inputs; the ranges are finite."""
    counts = {value: np.zeros(_BINS, np.int64) for value in known}
    for numbers in watched(program, tuple(known), batches):
        for value, array in numbers.items():
            if not known[value].is_empty:
                some = array.reshape(-1)[:: array.size // _SAMPLE | 1].astype(np.float64)  # which no range overflows
                counts[value] += np.histogram(some, _BINS, (known[value].low, known[value].high))[0]
    return {value: best_quantization(known[value], counts[value]) for value in known}


def best_quantization(within: Range, counts: npt.NDArray[np.int64]) -> Quantization:
    """Step and zero for numbers of which so many are in each of equal parts of their range."""
    if within.is_empty:
        return Quantization(1.0, 0)
    edges: npt.NDArray[np.float64] = np.linspace(within.low, within.high, len(counts) + 1)
    there = np.flatnonzero(counts)
    centers, counts = ((edges[:-1] + edges[1:]) / 2)[there], counts[there]
    lows, highs = ([end * share for share in (_SHARES if end else _SHARES[:1])] for end in (within.low, within.high))
    choices = [quantization_of(low, high) for low in lows for high in highs]
    return min(choices, key=lambda choice: _squared_error(choice, centers, counts))


def quantization_of(low: float, high: float) -> Quantization:
    """The step and the zero with which bytes reach from one number to the other, between which 0 is."""
    least = float(np.finfo(np.float32).tiny)
    step = float(np.float32(max((high - low) / LEVELS, least)))
    return Quantization(step, round(min(max(-low / step, 0), LEVELS)))


def rounded(numbers: npt.NDArray[_Float], by: Quantization) -> npt.NDArray[_Float]:
    """What is left of numbers as bytes."""
    made = numbers / numbers.dtype.type(by.step)
    np.rint(made, made)
    np.clip(made, -by.zero, LEVELS - by.zero, made)
    made *= numbers.dtype.type(by.step)
    return made


def _squared_error(by: Quantization, centers: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> float:
    return float((counts * np.square(centers - rounded(centers, by))).sum())
