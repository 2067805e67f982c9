"""The rows of the accuracy study, and the file that keeps them over sessions, commits and machines.

Accuracy does not depend on where it was measured, so such a file is continued anywhere. It depends on the settings of
the row's arm, which the row holds: it is *current* while today's definition of the arm has the same ones. A row that
is not current takes no part in any summary, and gives way to the new one when its cell is trained again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench.job.job import Job, LearningRateSchedule
from bench.job.models import TASKS
from bench.results_file import PooledFile, digest
from bench.study.arms import ARMS, FIELDS_ADDED_TO_RECIPES, FIELDS_TAKEN_FROM_RECIPES
from sparbor.recipe.recipe import RENAMED

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """What one row measures: an arm at a sparsity, a learning-rate schedule, a number of epochs and a seed.

    ``dataset`` is the task's name: the data set's for networks of the reference job, ``mnist-vit`` for another one.
    """

    dataset: str
    arm: str
    sparsity: float
    schedule: LearningRateSchedule
    epochs: int
    seed: int

    def job(self, data_dir: Path | None = None) -> Job:
        """What the arm is trained by."""
        return Job(
            dataset=TASKS[self.dataset].dataset,
            network=self.dataset,
            epochs=self.epochs,
            sparsity=self.sparsity,
            seed=self.seed,
            data_dir=data_dir,
            learning_rate=Job.learning_rate * ARMS[self.arm].learning_rate,
            learning_rate_schedule=self.schedule,
        )

    def settings(self) -> dict[str, Any]:
        """Those of its arm today."""
        return ARMS[self.arm].settings(self.job())

    def __str__(self) -> str:
        sparsity = f" {100 * self.sparsity:.4g} %" if self.sparsity else ""
        return f"{self.arm}{sparsity}, {self.schedule}, {self.epochs} epochs, seed {self.seed}"


def cell_of(row: Row) -> Cell:
    """The cell that ``row`` fills."""
    return Cell(**{field.name: row[field.name] for field in fields(Cell)})


def is_current(row: Row) -> bool:
    """Whether the row was measured with the settings that its arm has today."""
    if row["arm"] not in ARMS or "recipe" not in row:  # rows of before the study have no settings
        return False
    today = cell_of(row).settings()
    others = today.keys() - {"recipe"}
    row = {"revision": 1, **row}  # the first rows have none
    return all(row.get(name) == today[name] for name in others) and _same_recipe(row["recipe"], today["recipe"])


def model_file(scratch: Path, row: Row) -> Path:
    """Where the deployed model of a row is kept."""
    trained = {name: row.get(name) for name in cell_of(row).settings()}
    return scratch / "models" / f"{digest(asdict(cell_of(row)), trained, row['data'])}.safetensors"


def _same_recipe(stored: str | None, today: str | None) -> bool:
    if stored is None or today is None:
        return stored == today
    then = [(RENAMED.get(name, name), value) for name, value in _flat(json.loads(stored)).items()]
    kept = {name: value for name, value in then if (name, value) not in FIELDS_TAKEN_FROM_RECIPES.items()}
    return {**FIELDS_ADDED_TO_RECIPES, **kept} == _flat(json.loads(today))


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Fields of nested objects under dotted names; the version of the format says nothing of the training."""
    flat: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif prefix + name != "version":
            flat[prefix + name] = value
    return flat


class StudyFile(PooledFile):
    """The study's rows."""

    def current(self) -> list[Row]:
        """Rows with today's settings."""
        return [row for row in self.rows if is_current(row)]

    def stale(self) -> list[Row]:
        """Rows with other settings than today's."""
        return [row for row in self.rows if not is_current(row)]

    def missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """Those of ``cells``, each once, that no current row fills."""
        filled = {cell_of(row) for row in self.current()}
        return [cell for cell in dict.fromkeys(cells) if cell not in filled]

    def add(self, row: Row) -> None:
        """Keep a new row, in the place of an earlier one of its cell, and save all of them."""
        strange = {other["data"] for other in self.rows if other["dataset"] == row["dataset"]} - {row["data"]}
        if strange:
            sys.exit(f"{self.path} holds rows on {strange.pop()}, this one is on {row['data']}: choose another --json")
        self.put(row, asdict(cell_of(row)))
