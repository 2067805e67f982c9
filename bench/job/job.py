"""What the benchmark is asked to do."""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from bench.job.models import TASKS, Task
from bench.job.runtimes import ENGINES
from sparbor.errors import ArgumentError
from sparbor.recipe.budget import Budget
from sparbor.recipe.growth import Growth
from sparbor.recipe.recipe import LARGEST_SEED, Recipe
from sparbor.recipe.schedule import Schedule

LearningRateSchedule = Literal["constant", "cosine"]
LEARNING_RATE_SCHEDULES: tuple[LearningRateSchedule, ...] = ("constant", "cosine")


@dataclass(frozen=True)
class Job:
    """What the user asks for. ``network`` is one of ``TASKS`` on this data set, ``None`` the reference job's.

    ``weights`` says how the model that is left behind stores its weights: the benchmark measures all ways.
    """

    dataset: str = "mnist"
    epochs: int = 6
    sparsity: float | None = None
    seed: int = 0
    data_dir: Path | None = None
    device: str = "cpu"
    learning_rate: float = 1e-3
    network: str | None = None
    budget: Budget | None = None
    dendrites: int = 0
    learning_rate_schedule: LearningRateSchedule = "constant"
    weights: str = "word16"

    def __post_init__(self) -> None:
        networks = [name for name, task in TASKS.items() if task.dataset == self.dataset]
        if not networks:
            datasets = dict.fromkeys(task.dataset for task in TASKS.values())
            raise ArgumentError(f"dataset={self.dataset!r}: must be one of {', '.join(map(repr, datasets))}")
        if self.task_name not in networks:
            raise ArgumentError(
                f"network={self.network!r}: must be one of {', '.join(map(repr, networks))}, which take {self.dataset}"
            )
        if self.epochs < 1:
            raise ArgumentError(f"epochs={self.epochs}: must be at least 1")
        if not 0 <= self.seed < LARGEST_SEED:
            raise ArgumentError(f"seed={self.seed}: must be a whole number from 0 to {LARGEST_SEED - 1}")
        if not 0 < self.learning_rate < math.inf:
            raise ArgumentError(f"learning_rate={self.learning_rate}: must be a positive number")
        if self.dendrites < 0:
            raise ArgumentError(f"dendrites={self.dendrites}: must be at least 0, the generations to grow")
        if self.learning_rate_schedule not in LEARNING_RATE_SCHEDULES:
            raise ArgumentError(
                f"learning_rate_schedule={self.learning_rate_schedule!r}: must be one of"
                f" {', '.join(map(repr, LEARNING_RATE_SCHEDULES))}"
            )
        if self.weights not in ENGINES:
            raise ArgumentError(f"weights={self.weights!r}: must be one of {', '.join(map(repr, ENGINES))}")
        self.recipe()  # which checks the sparsity or the budget
        _check_device(self.device)

    @property
    def task_name(self) -> str:
        """The network's name; that of the reference job's network is the data set's."""
        return self.network or self.dataset

    @property
    def task(self) -> Task:
        """The network and its data set."""
        return TASKS[self.task_name]

    def learning_rate_at(self, share: float) -> float:
        """The rate of the step before which ``share`` of all steps is done; a cosine falls to zero at the end."""
        if self.learning_rate_schedule == "cosine":
            return self.learning_rate / 2 * (1 + math.cos(math.pi * share))
        return self.learning_rate

    def recipe(self) -> Recipe:
        """The task's recipe at the job's sparsity or budget, by the usual schedule."""
        schedule = Schedule()
        growth = _growth(self.dendrites, schedule) if self.dendrites else None
        make = partial(self.task.recipe, sparsity=self.sparsity, schedule=schedule, growth=growth)
        if self.budget is None:
            return make()
        # It divides itself, and moves between layers while the model trains: those that gain must be able to grow.
        return make(budget=self.budget, distribution=None, method="rigl")


def _growth(generations: int, schedule: Schedule) -> Growth:
    """Evenly spaced from the switch to dendrite mode to where the final sparsity is reached.

    So what is grown goes through the ramp with everything else, and what is worth most is kept.
    """
    between = (schedule.ramp_end - schedule.warmup) / generations
    return Growth(generations, at=tuple(schedule.warmup + between * number for number in range(generations)))


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ArgumentError(f"device={device!r}: not a device; use 'cpu' or 'cuda'") from error
    if kind not in ("cpu", "cuda"):
        raise ArgumentError(f"device={device!r}: must be 'cpu' or 'cuda'")
    if kind == "cuda":
        index = torch.device(device).index or 0
        if index >= torch.cuda.device_count():
            raise ArgumentError(
                f"device={device!r}: this machine has {torch.cuda.device_count()} CUDA devices; use 'cpu'"
            )
