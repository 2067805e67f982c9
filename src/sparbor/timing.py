"""The clock of every latency figure: nothing but the standard library, so that any runtime's process can use it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Latency:
    """Microseconds for one call."""

    median_us: float
    p95_us: float


def sample(call: Callable[[], object], times: int) -> list[float]:
    """Microseconds for each of ``times`` calls."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return [1e6 * second for second in seconds]


def summarize(microseconds: list[float]) -> Latency:
    """Median and 95th percentile of some calls."""
    return Latency(median(microseconds), quantiles(microseconds, n=20)[-1])
