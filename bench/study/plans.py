"""The grids of the accuracy study, the most wanted cells first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.job.job import LearningRateSchedule
from bench.study.arms import ARMS
from bench.study.rows import Cell

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
MAIN = ("dense", "slots", "unstructured")
CONTROLS = (
    *("dense-half-rate", "dense-double-rate", "small-dense", "static-random"),
    *("magnitude", "rigl", "nm", "perforatedai"),
)
ABLATIONS = ("slots-plain-steps", "slots-full-steps", "slots-in-order", "slots-rigl", "slots-erk", "slots-uniform")
NM_SPARSITY = 1 - 3 / 32  # where rigid N:M is, slots are compared with it


def grid(
    dataset: str,
    arms: Iterable[str],
    sparsities: Sequence[float],
    *,
    schedule: LearningRateSchedule = "constant",
    epochs: int = 6,
    seeds: Iterable[int] = range(5),
) -> Iterator[Cell]:
    """Every arm at every sparsity it can have, all seeds of one before the next."""
    seeds = tuple(seeds)
    for arm in arms:
        only = ARMS[arm].sparsity
        for sparsity in sparsities if only is None else (only,):
            yield from (Cell(dataset, arm, sparsity, schedule, epochs, seed) for seed in seeds)


def mnist() -> Iterator[Cell]:
    """The full grid, under both schedules; quads at two sparsities; slots against unstructured over 20 seeds."""
    yield from grid("mnist", MAIN, [0.9])
    yield from grid("mnist", ["slots"], [0.97, 0.7])
    yield from grid("mnist", ["quads"], [0.9, 0.95])
    yield from grid("mnist", ["slots", "unstructured"], [0.95])
    yield from grid("mnist", CONTROLS, [0.9])
    yield from grid("mnist", ["slots"], [NM_SPARSITY])
    yield from grid("mnist", MAIN, [0.9], schedule="cosine")
    yield from grid("mnist", ("slots-grown", *ABLATIONS), [0.9])
    yield from grid("mnist", ("dense", *CONTROLS, "slots-grown", *ABLATIONS), [0.9], schedule="cosine")
    yield from grid("mnist", MAIN, [0.9], seeds=range(20))
    yield from grid("mnist", ["slots", "unstructured"], (*SPARSITIES, 0.97))
    yield from grid("mnist", CONTROLS, SPARSITIES)
    yield from grid("mnist", ["slots", "unstructured"], (*SPARSITIES, 0.97, NM_SPARSITY), schedule="cosine")
    yield from grid("mnist", CONTROLS, SPARSITIES, schedule="cosine")


def cifar10() -> Iterator[Cell]:
    """Every arm at 90 %, quads at 95 %, slots and unstructured at the others; 15 epochs; then the cosine schedule."""
    yield from grid("cifar10", MAIN, [0.9])
    yield from grid("cifar10", ["slots"], [0.65, 0.95])
    yield from grid("cifar10", ["quads"], [0.9, 0.95])
    yield from grid("cifar10", ["unstructured"], [0.95])
    yield from grid("cifar10", CONTROLS, [0.9])
    yield from grid("cifar10", ["slots-erk"], [0.65])
    yield from grid("cifar10", ["dense", "slots"], [0.9], epochs=15)
    yield from grid("cifar10", ["slots-in-order", "slots-longer-steps", "slots-grown"], [0.9])
    yield from grid("cifar10", ["slots"], [0.5, 0.7, 0.8, 0.98])
    yield from grid("cifar10", ["unstructured"], [0.65, 0.95, 0.5, 0.7, 0.8, 0.98])
    yield from grid("cifar10", ["slots"], [NM_SPARSITY])
    yield from grid("cifar10", MAIN, [0.9], schedule="cosine")


def mnist_vit() -> Iterator[Cell]:
    """A small transformer: the main arms and quads, a few sparsities."""
    yield from grid("mnist-vit", (*MAIN, "quads"), [0.9])
    yield from grid("mnist-vit", ["slots", "unstructured"], [0.7, 0.8, 0.95])


PLANS = {"mnist": mnist, "cifar10": cifar10, "mnist-vit": mnist_vit}
