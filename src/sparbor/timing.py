"""The clock of every latency figure: nothing but the standard library, so that any runtime's process can use it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles

Sampler = Callable[[int], list[float]]


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


def take_turns(
    samplers: Mapping[str, Sampler], *, rounds: int, calls: Mapping[str, int], untimed: int = 0, pause: float = 0
) -> dict[str, Latency]:
    """Median and 95th percentile of each sampler; they take turns, so that a change of speed meets all of them.

    A turn is ``calls[name]`` calls, after ``untimed`` ones that fetch back what the others drove out of the caches, and
    after ``pause`` seconds, in which the threads of the one before fall asleep: some spin until then.
    """
    samples: dict[str, list[float]] = {name: [] for name in samplers}
    for _ in range(rounds):
        for name, sampler in samplers.items():
            if pause:
                time.sleep(pause)
            samples[name] += sampler(untimed + calls[name])[untimed:]
    return {name: summarize(times) for name, times in samples.items()}
