"""What paired seeds say: means, spreads, and how far the mean of a paired difference can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import NamedTuple

CONFIDENCE = 0.95
SEEDS_WANTED = 5


class Paired(NamedTuple):
    """A difference over the seeds that two arms share, in points; what needs two seeds is ``None`` with one.

    ``margin``: the two-sided 95 % interval is ``mean ± margin``. ``lower``, ``upper``: each alone is a one-sided 95 %
    bound.
    """

    mean: float
    deviation: float | None
    margin: float | None
    lower: float | None
    upper: float | None
    seeds: int


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> Paired | None:
    """``first - second``, accuracies by seed; ``None`` where they share no seed."""
    differences = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
    if not differences:
        return None
    average, count = mean(differences), len(differences)
    if count == 1:
        return Paired(average, None, None, None, None, 1)
    deviation = stdev(differences)
    error = deviation / math.sqrt(count)
    one_sided = student_t(CONFIDENCE, count - 1) * error
    margin = student_t((1 + CONFIDENCE) / 2, count - 1) * error
    return Paired(average, deviation, margin, average - one_sided, average + one_sided, count)


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation, of two values at least."""
    return stdev(values) if len(values) > 1 else None


def student_t(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution, for a ``probability`` of at least one half."""
    low, high = 0.0, 1.0
    while _student_t_below(high, degrees) < probability:
        high *= 2
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _student_t_below(middle, degrees) < probability else (low, middle)
    return high


def _student_t_below(t: float, degrees: int) -> float:
    """``P(T <= t)`` for ``t >= 0``: the finite series of Abramowitz & Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine, total = math.cos(angle), 0.0
    odd = degrees % 2
    term = cosine if odd else 1.0
    for power in range(1 + odd, degrees, 2):
        total += term
        term *= cosine**2 * power / (power + 1)
    within = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return (1 + within) / 2
