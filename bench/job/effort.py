"""What training costs: wall time, processor time, multiply-adds, energy."""

import time
from dataclasses import dataclass
from typing import TypeVar

from bench.job import rapl

LONGEST_LAP_SECONDS = 10  # RAPL counters start anew after a minute or more at full load; one lap must not miss it
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Effort:
    """What was spent; ``None`` is what could not be found out, be it only for a part.

    ``cpu_seconds`` are of all threads of this process, ``energy_joules`` of the whole processors.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    multiply_adds: int | None = 0
    energy_joules: float | None = 0.0

    def __add__(self, other: "Effort") -> "Effort":
        return Effort(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            _plus(self.multiply_adds, other.multiply_adds),
            _plus(self.energy_joules, other.energy_joules),
        )


NOTHING = Effort()


class Meter:
    """Runs from its making on. Without ``packages`` it cannot tell the energy."""

    def __init__(self, packages: tuple[rapl.Package, ...]) -> None:
        self._packages = packages
        self._start()

    @property
    def is_due(self) -> bool:
        """Whether the lap has to end, so that no counter can start anew twice within it."""
        return time.perf_counter() - self._seconds > LONGEST_LAP_SECONDS

    def lap(self) -> Effort:
        """What was spent since the last lap or, for the first, since the meter was made."""
        seconds, cpu_seconds, energy = self._seconds, self._cpu_seconds, self._energy
        self._start()
        return Effort(
            self._seconds - seconds,
            self._cpu_seconds - cpu_seconds,
            energy_joules=rapl.joules(self._packages, energy, self._energy),
        )

    def _start(self) -> None:
        self._energy = rapl.counters_uj(self._packages)
        self._seconds, self._cpu_seconds = time.perf_counter(), time.process_time()


def _plus(one: Number | None, other: Number | None) -> Number | None:
    return None if one is None or other is None else one + other
