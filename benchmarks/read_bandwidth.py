"""How fast one thread can read a buffer: the speed limit of a batch-1 engine, which reads its model once a call."""

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch

from sparbor.timing import sample


class Reader:
    """Reads a buffer of ``size`` bytes again and again with the fastest loop at hand, all of them vectorised.

    What a call on (nearly) nothing takes is not reading, and taken off: it matters for small buffers.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        loops, empty = _loops(size), _loops(4)
        self._calls_us = {name: median(sample(loop, 100)) for name, loop in empty.items()}
        trials = {name: median(sample(loop, 30)[5:]) - self._calls_us[name] for name, loop in loops.items()}
        self.loop = min(trials, key=trials.__getitem__)
        self._read = loops[self.loop]

    def sample(self, times: int) -> list[float]:
        """Read ``times`` times; microseconds for each."""
        return sample(self._read, times)

    def result(self, median_us: float) -> dict[str, Any]:
        """The figure, as plain data."""
        reading_us = median_us - self._calls_us[self.loop]
        return {"bytes": self.size, "loop": self.loop, "gigabytes_a_second": self.size / reading_us / 1e3}


def _loops(size: int) -> dict[str, Callable[[], object]]:
    floats = np.ones(max(size // 4, 1), dtype=np.float32)
    integers, tensor = floats.view(np.int32), torch.from_numpy(floats)
    return {
        "numpy maximum of floats": floats.max,
        "numpy maximum of integers": integers.max,
        "torch sum": tensor.sum,
    }
