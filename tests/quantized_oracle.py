"""What operations on quantized values must answer, by NumPy: each step in floats of 32 bits, as the engine has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sparbor.program.program import Quantization
from sparbor.program.windows import AverageWindow, Window

F32 = np.float32


def quantize(x: np.ndarray, to: Quantization, low: int = 0, high: int = 255) -> np.ndarray:
    """The bytes of numbers."""
    with np.errstate(all="ignore"):
        return bytes_of_steps(x / F32(to.step), to, low, high)


def bytes_of_steps(steps: np.ndarray, to: Quantization, low: int = 0, high: int = 255) -> np.ndarray:
    """The bytes of numbers that are given in steps: the nearest ones, of two the even one; of NaN the zero."""
    assert steps.dtype == F32
    known = np.where(np.isnan(steps), F32(0), steps)
    return (np.rint(np.clip(known, low - to.zero, high - to.zero)).astype(np.int32) + to.zero).astype(np.uint8)


def dequantize(x: np.ndarray, of: Quantization) -> np.ndarray:
    """The numbers that bytes stand for."""
    return (x.astype(np.int32) - of.zero).astype(F32) * F32(of.step)


def in_steps(x: np.ndarray, of: Quantization, to: Quantization) -> np.ndarray:
    """The numbers in steps of another value."""
    return (x.astype(np.int32) - of.zero).astype(F32) * (F32(of.step) / F32(to.step))


def concat(values: Sequence[tuple[np.ndarray, Quantization]], to: Quantization) -> np.ndarray:
    """Along the channels, each as the bytes of its numbers."""
    return np.concatenate([quantize(dequantize(x, of), to) for x, of in values], 1)


def add(
    left: np.ndarray, of_left: Quantization, right: np.ndarray, of_right: Quantization, to: Quantization, **ends: int
) -> np.ndarray:
    """The bytes of sums."""
    return bytes_of_steps(in_steps(left, of_left, to) + in_steps(right, of_right, to), to, **ends)


def scale(x: np.ndarray, of: Quantization, factors: np.ndarray, to: Quantization) -> np.ndarray:
    """Planes times numbers for each channel."""
    with np.errstate(all="ignore"):
        steps = (x.astype(np.int32) - of.zero).astype(F32) * (factors * (F32(of.step) / F32(to.step)))
    return bytes_of_steps(steps, to)


def max_pool(x: np.ndarray, window: Window, size: tuple[int, int]) -> np.ndarray:
    """The largest byte under each window; what is outside counts for nothing."""
    return np.stack([places.max((-2, -1)) for places, _ in _windows(x, window, size)], -1).reshape(*x.shape[:2], *size)


def average_pool(
    x: np.ndarray, of: Quantization, window: AverageWindow, size: tuple[int, int], to: Quantization
) -> np.ndarray:
    """The bytes of means: exact sums of whole numbers, times one step of x by the divisor in steps of the result."""
    means = []
    for places, counted in _windows(x.astype(np.int64) - of.zero, window, size):
        divisor = F32(window.divisor or counted)
        means.append(places.sum((-2, -1)).astype(F32) * (F32(of.step) / F32(to.step) / divisor))
    return bytes_of_steps(np.stack(means, -1), to).reshape(*x.shape[:2], *size)


def _windows(x: np.ndarray, window: Window, size: tuple[int, int]) -> Iterator[tuple[np.ndarray, int]]:
    """For each window the numbers that are under it, zeros where there are none, and how many places it has."""
    top, left, bottom, right = window.padding
    height, width = x.shape[2:]
    reach = [window.stride[i] * (size[i] - 1) + window.dilation[i] * (window.kernel[i] - 1) + 1 for i in (0, 1)]
    below, beside = max(0, reach[0] - top - height), max(0, reach[1] - left - width)
    padded = np.pad(x, [(0, 0), (0, 0), (top, below), (left, beside)])
    there = np.zeros(padded.shape[2:], bool)
    there[top : top + height, left : left + width] = True
    if not isinstance(window, AverageWindow) or window.include_padding:
        there[: top + height + bottom, : left + width + right] = True
    for row, column in np.ndindex(*size):
        rows = row * window.stride[0] + window.dilation[0] * np.arange(window.kernel[0])
        columns = column * window.stride[1] + window.dilation[1] * np.arange(window.kernel[1])
        yield padded[:, :, rows[:, None], columns], int(there[rows[:, None], columns].sum())
