"""Images as raw bytes: how a deployed model makes of them what it was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sparbor.errors import ArgumentError


@dataclass(frozen=True, init=False)
class ByteInput:
    """The normalisation of uint8 input: byte b of a channel becomes (b / 255 − mean) / std.

    `mean` and `std` are in units of images in [0, 1], as torchvision's `Normalize` takes them: a number for all
    channels, or one for each, the first dimension of an item. Without arguments bytes become [0, 1], as `ToTensor`
    makes them.

    Raises ArgumentError for numbers that are not finite, a std that is not positive, or two different lengths.

    >>> ByteInput(mean=0.1307, std=0.3081)
    ByteInput(mean=(0.1307,), std=(0.3081,))
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __init__(self, mean: float | Sequence[float] = 0.0, std: float | Sequence[float] = 1.0) -> None:
        means, stds = _numbers("mean", mean), _numbers("std", std)
        if not all(value > 0 for value in stds):
            raise ArgumentError(f"std={std!r}: each must be positive, in units of images in [0, 1]")
        channels = max(len(means), len(stds))
        if {len(means), len(stds)} - {1, channels}:
            raise ArgumentError(f"mean has {len(means)} numbers and std {len(stds)}: pass one for each channel")
        object.__setattr__(self, "mean", means * (channels // len(means)))
        object.__setattr__(self, "std", stds * (channels // len(stds)))

    def scale_and_shift(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """b · scale + shift is what byte b becomes."""
        scale = [1 / (255 * std) for std in self.std]
        shift = [-mean / std for mean, std in zip(self.mean, self.std, strict=True)]
        return np.array(scale, np.float32), np.array(shift, np.float32)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether items of this shape have as many channels; one number fits all."""
        return len(self.mean) == 1 or (len(shape) > 1 and shape[0] == len(self.mean))


def _numbers(name: str, given: Any) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in (given if isinstance(given, Sequence) else np.ravel(given)))
    except (TypeError, ValueError):
        values = ()
    if not values or not all(math.isfinite(value) and abs(value) < 1e30 for value in values):
        raise ArgumentError(f"{name}={given!r}: it must be a finite number, or one for each channel")
    return values
