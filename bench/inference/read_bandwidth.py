"""How fast one thread can read a buffer: the speed limit of a batch-1 engine, which reads its model once a call."""

import ctypes
import functools
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from sparbor.timing import sample

# Sixty-four sums are eight AVX-512 registers: loads that wait for nothing. Rounds of 64 words; the rest is left out.
C_LOOP = """
#include <stddef.h>
#include <stdint.h>
uint64_t read_all(const uint64_t* at, size_t count) {
    uint64_t sums[64] = {0}, sum = 0;
    for (size_t i = 0; i + 64 <= count; i += 64)
        for (size_t j = 0; j < 64; j++) sums[j] += at[i + j];
    for (size_t j = 0; j < 64; j++) sum += sums[j];
    return sum;
}
"""
C_FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", "-shared", "-fPIC")


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

    def result(self, median_us: float) -> list[dict[str, Any]]:
        """The figure, as plain data; none for a buffer so small that its reading is lost in the call."""
        reading_us = median_us - self._calls_us[self.loop]
        if reading_us < self._calls_us[self.loop] / 10:
            return []
        return [{"bytes": self.size, "loop": self.loop, "gigabytes_a_second": self.size / reading_us / 1e3}]


def _loops(size: int) -> dict[str, Callable[[], object]]:
    words = np.ones(max(size // 8, 1), dtype=np.uint64)
    floats = words.view(np.float32)
    loops: dict[str, Callable[[], object]] = {
        "numpy maximum of floats": floats.max,
        "numpy maximum of integers": words.view(np.int32).max,
        "torch sum": torch.from_numpy(floats).sum,
    }
    read_all = _compiled_loop()
    if read_all:
        loops["C sum of words"] = lambda: read_all(words.ctypes.data, words.size)
    return loops


@functools.cache
def _compiled_loop() -> Callable[[int, int], int] | None:
    """The C loop, where there is a compiler for it."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "read.c", Path(folder) / "read.so"
        source.write_text(C_LOOP)
        try:
            subprocess.run(["cc", *C_FLAGS, str(source), "-o", str(library)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        read_all = ctypes.CDLL(str(library)).read_all
    read_all.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    read_all.restype = ctypes.c_uint64
    return read_all
