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

    Both are in units of images in [0, 1], as torchvision's `Normalize` takes them: a number for all channels, or one
    for each, the first dimension of an item. Without arguments bytes become [0, 1], as `ToTensor` makes them.

    Args:
        mean: what is subtracted.
        std: what is divided by after that.

    Raises:
        ArgumentError: a number is not finite, a std is not positive, or there are two different numbers of channels.

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

    def in_words(self) -> str:
        """What a model with this normalisation takes."""
        return f"uint8, normalised with {self.settings()}, or float32 that is normalised already"

    def settings(self) -> str:
        """Mean and std as people read them."""
        mean, std = (", ".join(f"{value:g}" for value in each) for each in (self.mean, self.std))
        return f"mean {mean}, std {std}"

    def doubt(self, least: float, most: float) -> str | None:
        """What is to be said of float32 input with numbers from `least` to `most`, if those are none of images.

        Images that are augmented, or noise in place of images, are at most a few times as large as what bytes become.
        """
        darkest = min((0 - mean) / std for mean, std in zip(self.mean, self.std, strict=True))
        brightest = max((1 - mean) / std for mean, std in zip(self.mean, self.std, strict=True))
        margin = max(2 * (brightest - darkest), _NOISE)
        if least < darkest - margin or most > brightest + margin:
            return (
                f"x holds float32 from {least:.4g} to {most:.4g}, and this model takes float32 as normalised already: "
                f"bytes become {darkest:.3g} to {brightest:.3g} ({self.settings()}). Pass raw pixel values, 0 to 255, "
                "as uint8; the runtime normalises those"
            )
        return None


_NOISE = 10.0  # standard deviations, which numbers of a normal distribution never reach


def _numbers(name: str, given: Any) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in (given if isinstance(given, Sequence) else np.ravel(given)))
    except (TypeError, ValueError):
        values = ()
    if not values or not all(math.isfinite(value) and abs(value) < 1e30 for value in values):
        raise ArgumentError(f"{name}={given!r}: it must be a finite number, or one for each channel")
    return values
