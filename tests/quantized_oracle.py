"""What operations on quantized values must answer, by NumPy: each step in floats of 32 bits, as the engine has it."""

from __future__ import annotations

import numpy as np

from sparbor.program.program import Quantization

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
