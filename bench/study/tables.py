"""Tables of the accuracy study: one line an arm and sparsity, means over seeds, paired with the dense arm."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean
from typing import NamedTuple

from rich.table import Table

from bench.job.experiment import remaining_error_reduction
from bench.study.arms import ARMS
from bench.study.rows import Cell, Row, cell_of
from bench.study.statistics import SEEDS_WANTED, Paired, paired, spread

HEADINGS = (
    "arm",
    "sparsity",
    "active parameters",
    "validation (%)",
    "test (%)",
    "paired difference to dense",
    "remaining error reduction",
    "seeds",
)


class Group(NamedTuple):
    """What is compared with each other: one data set, learning-rate schedule and number of epochs."""

    dataset: str
    schedule: str
    epochs: int


class Line(NamedTuple):
    """The seeds of one arm at one sparsity; ``dense`` holds the dense test accuracies of the same seeds."""

    arm: str
    sparsity: float
    rows: list[Row]
    against_dense: Paired | None
    error_reduction: float | None

    @property
    def tests(self) -> dict[int, float]:
        """Test accuracy by seed."""
        return by_seed(self.rows)

    @property
    def active(self) -> float:
        """Active parameters, biases included, in the mean."""
        return mean(row["active_parameters"] for row in self.rows)

    @property
    def test(self) -> float:
        """Test accuracy, in the mean."""
        return mean(self.tests.values())

    @property
    def commits(self) -> str:
        """Those its rows were measured at, in short; ``-dirty`` marks one with changes."""
        names = dict.fromkeys(str(row["commit"]).partition("-") for row in self.rows)
        return ", ".join(f"{commit[:7]}{dash}{mark}" for commit, dash, mark in names)


def groups(rows: Iterable[Row]) -> list[Group]:
    """Those that have rows."""
    return list(dict.fromkeys(group_of(cell_of(row)) for row in rows))


def group_of(cell: Cell) -> Group:
    """The group that a cell belongs to."""
    return Group(cell.dataset, cell.schedule, cell.epochs)


def lines(rows: Iterable[Row], group: Group, planned: Iterable[Cell] = ()) -> list[Line]:
    """All arms of a group, in the order in which they are defined, by rising sparsity; planned ones may be empty."""
    members = [row for row in rows if group_of(cell_of(row)) == group]
    dense = by_seed(row for row in members if row["arm"] == "dense")
    wanted = [cell for cell in planned if group_of(cell) == group] + [cell_of(row) for row in members]
    keys = sorted({(cell.arm, cell.sparsity) for cell in wanted}, key=lambda key: (list(ARMS).index(key[0]), key[1]))
    return [_line(*key, [row for row in members if (row["arm"], row["sparsity"]) == key], dense) for key in keys]


def _line(arm: str, sparsity: float, rows: list[Row], dense: dict[int, float]) -> Line:
    tests = by_seed(rows)
    shared = [seed for seed in tests if seed in dense]
    if arm == "dense" or not shared:
        return Line(arm, sparsity, rows, None, None)
    reduction = remaining_error_reduction(mean(dense[seed] for seed in shared), mean(tests[seed] for seed in shared))
    return Line(arm, sparsity, rows, paired(tests, dense), reduction)


def cells(line: Line) -> tuple[str, ...]:
    """A line as it is read; ``HEADINGS`` names its parts."""
    name = (line.arm, percent(line.sparsity) if line.sparsity else "")
    if not line.rows:
        return (*name, *[""] * (len(HEADINGS) - len(name)))
    return (
        *name,
        f"{line.active:,.0f}",
        f"{mean(row['validation_accuracy'] for row in line.rows):.2f}",
        with_spread(list(line.tests.values())),
        with_interval(line.against_dense),
        "" if line.error_reduction is None else f"{100 * line.error_reduction:.1f} %",
        seeds(len(line.rows)),
    )


def accuracy_table(rows: Iterable[Row], dataset: str, schedule: str, epochs: int) -> Table:
    """For the terminal."""
    rows = list(rows)
    table = Table(*HEADINGS, title=f"{dataset}, {epochs} epochs, {schedule} learning rate")
    table.caption = f"Data: {', '.join(sorted({row['data'] for row in rows if row['dataset'] == dataset}))}."
    for line in lines(rows, Group(dataset, schedule, epochs)):
        table.add_row(*cells(line))
    return table


def percent(sparsity: float) -> str:
    """As it is read: 90 %, 90.62 %."""
    return f"{100 * sparsity:.4g} %"


def by_seed(rows: Iterable[Row]) -> dict[int, float]:
    """Test accuracies."""
    return {row["seed"]: row["test_accuracy"] for row in rows}


def points_apart(row: Row) -> float:
    """Between the test accuracies on the engine and in PyTorch; 0 where it was not deployed."""
    return abs((row["engine_test_accuracy"] or row["test_accuracy"]) - row["test_accuracy"])


def with_spread(values: list[float]) -> str:
    """Mean and sample standard deviation."""
    deviation = spread(values)
    return f"{mean(values):.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")


def with_interval(difference: Paired | None) -> str:
    """The mean of a paired difference and its two-sided 95 % interval."""
    if difference is None:
        return ""
    if difference.margin is None:
        return f"{difference.mean:+.2f}"
    low, high = difference.mean - difference.margin, difference.mean + difference.margin
    return f"{difference.mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def seeds(count: int) -> str:
    """How many, marked where they are fewer than the study wants."""
    return f"{count}" if count >= SEEDS_WANTED else f"{count} (few)"
