"""The energy that a machine's processors take, as Linux hands on what their RAPL counters tell."""

from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Package:
    """The counter of one processor package, in microjoules; past ``range_uj`` it starts from 0 again."""

    counter: Path
    range_uj: int


def packages(powercap: Path = POWERCAP) -> tuple[Package, ...]:
    """The processor packages; none where the machine does not tell.

    A package's parts (cores, memory controller) are within it; ``intel-rapl-mmio`` tells the same once more.
    """
    found = []
    try:
        for domain in sorted(powercap.glob("intel-rapl:*")):
            if (domain / "name").read_text().startswith("package"):
                range_uj = int((domain / "max_energy_range_uj").read_text())
                found.append(Package(domain / "energy_uj", range_uj))
    except (OSError, ValueError):
        return ()
    return tuple(found)


def counters_uj(of: tuple[Package, ...]) -> list[int] | None:
    """What the counters say now; ``None`` if there is none, or if one cannot be read: a sum without it were wrong."""
    try:
        return [int(package.counter.read_text()) for package in of] or None
    except (OSError, ValueError):  # most systems let only their administrator read them
        return None


def joules(of: tuple[Package, ...], before: list[int] | None, after: list[int] | None) -> float | None:
    """What was taken between two readings, in which no counter may have started anew more than once."""
    if before is None or after is None:
        return None
    spans = zip(of, before, after, strict=True)
    return sum((end - start) % package.range_uj for package, start, end in spans) / 1e6
