"""What every source of data comes to: images, labels, and which data they truly are."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (count, height, width) or (count, channels, height, width) and their labels (count,)."""

    name: str
    origin: str
    """Where it came from: a path, a URL or a package; of what the cache holds, what the cache was filled from."""
    description: str
    """Which data it is, for people: `official MNIST`, `JPEG-compressed image folder, not the official CIFAR-10`."""
    official: bool
    """Whether it is the official data to the last byte."""
    train_images: UInt8Array
    train_labels: NDArray[np.int64]
    test_images: UInt8Array
    test_labels: NDArray[np.int64]
    classes: int
    other_name: str | None = None
    """What it is, if it is known other data in the same form."""

    @property
    def title(self) -> str:
        """What headings call it."""
        if self.official:
            return self.name
        folder = os.path.basename(self.origin.rstrip(os.sep)) or self.origin
        return self.other_name or f"{self.name} (not the official bytes: {folder})"

    @property
    def source(self) -> str:
        """Which data it is and where it came from."""
        return f"{self.origin} ({self.description})"


@dataclass(frozen=True)
class Found:
    """A data set at a place that the user has named: what tells it, and how it is read."""

    what: str
    read: Callable[[], Dataset]


class Provider(Protocol):
    """What a data set's module offers."""

    TITLE: str
    REMEDY: str
    """What to put at a named place: `put ... there`."""

    def find(self, place: Path) -> Found | None:
        """The data set at `place`; None if nothing there looks like it."""

    def what_is_missing(self, place: Path) -> str:
        """What keeps `place` from holding the data set, to follow the place's name."""

    def read_cached(self) -> Dataset:
        """The official data from the user cache, which is filled if need be."""
