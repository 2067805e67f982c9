"""What sparse training costs against dense: a step in dendrite mode, its memory, and the whole reference jobs.

``python bench/training.py --json FILE``; run it again to continue. Steps are forward, backward and Adam, of all
arms in turns; ``masked`` and ``compact`` are the storages. A sentence encoder's are those of fine-tuning: 32 texts of
32 tokens, its embeddings dense. Memory is counted from the tensors themselves: weights, gradients and the optimizer's
state, and beside it what the topology takes. Jobs are trainings as ``main.py`` does them, dense warm-up and rewiring
included, an epoch of each arm in turns.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from bench.inference.models import MODELS, example
from bench.job.arms import load_split, make_arms, train
from bench.job.job import Job
from bench.peers import arguments
from bench.results_file import ResultsFile
from sparbor.nn.masked_layer import STORAGES, Storage
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.recipe import Recipe
from sparbor.recipe.schedule import Schedule
from sparbor.synapses.lists import Synapses
from sparbor.train.perforator import perforate

BATCH, TEXTS = 128, 32
SPARSE_FROM_THE_START = Schedule(warmup=0, ramp_end=0)
JOBS = ("cifar10", "mnist")


def batch_of(model: str) -> int:
    """How many items a step learns from."""
    return TEXTS if MODELS[model].tokens else BATCH


class Arm:
    """A network and its optimizer, dense or in dendrite mode from the first step."""

    def __init__(self, name: str, sparsity: float) -> None:
        torch.manual_seed(0)
        self.model = MODELS[name].build()
        self.x = arguments(example(name, batch_of(name)))
        self.y = torch.randn(self.model(*self.x).shape)
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.seconds: list[float] = []
        if sparsity:
            self.recipe = Recipe(
                sparsity,
                "static",
                distribution="uniform",
                schedule=SPARSE_FROM_THE_START,
                exclude=("*.embeddings*",) if MODELS[name].tokens else (),
            )

    def perforated(self, storage: Storage) -> "Arm":
        """The same, perforated."""
        perforate(self.model, self.optimizer, self.recipe, total_steps=1, storage=storage)
        return self

    def step(self) -> None:
        """Forward, backward, Adam; timed."""
        start = time.perf_counter()
        nn.functional.mse_loss(self.model(*self.x), self.y).backward()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - start)
        self.optimizer.zero_grad()

    def training_bytes(self) -> int:
        """Of weights, gradients (each as large as its weight) and the optimizer's state."""
        parameters = list(self.model.parameters())
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        return 2 * _bytes(parameters) + _bytes([value for value in states if isinstance(value, Tensor)])

    def topology_bytes(self) -> int:
        """Of masks and of the lists made from them."""
        modules = [module for module in self.model.modules() if isinstance(module, PAINeuronModule)]
        made = [each for module in modules for each in (module.mask, *module.facts.made.values())]
        lists = [lists for each in made if isinstance(each, Synapses) for lists in each.made.values()]
        tensors = [each for each in made if isinstance(each, Tensor)]
        return _bytes(tensors + [tensor for each in lists for tensor in vars(each).values()])


def _bytes(tensors: list[Any]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def steps(name: str, sparsity: float, count: int, warmup: int = 3) -> Iterator[dict[str, Any]]:
    """Steps of the three arms in turns."""
    arms = {"dense": Arm(name, 0)} | {storage: Arm(name, sparsity).perforated(storage) for storage in STORAGES}
    for _ in range(warmup + count):
        for arm in arms.values():
            arm.step()
    for arm_name, arm in arms.items():
        yield {
            "model": name,
            "batch": batch_of(name),
            "sparsity": sparsity,
            "arm": "dense" if arm_name == "dense" else "dendritic",
            "storage": arm_name if arm_name in STORAGES else None,
            "step_ms_median": 1000 * median(arm.seconds[warmup:]),
            "step_ms_min": 1000 * min(arm.seconds[warmup:]),
            "training_bytes": arm.training_bytes(),
            "topology_bytes": arm.topology_bytes(),
        }


def job(dataset: str, data_dir: Path | None, epochs: int) -> Iterator[dict[str, Any]]:
    """The reference job."""
    asked = Job(dataset=dataset, epochs=epochs, data_dir=data_dir)
    split = load_split(asked)
    arms = make_arms(asked, split, {"dense": None, "dendritic": asked.recipe()})
    for _ in train(arms, split, asked):
        pass
    for arm in arms:
        effort = arm.total_effort()
        yield {
            "model": dataset,
            "data": split.description,
            "epochs": epochs,
            "sparsity": 1 - arm.density(),
            "arm": arm.name,
            "training_s": effort.seconds,
            "training_cpu_s": effort.cpu_seconds,
            "training_multiply_adds": effort.multiply_adds,
            "validation_accuracy": arm.epochs[-1].validation_accuracy_percent,
        }


def summary(rows: list[dict[str, Any]]) -> Table:
    """Each dendritic row against the dense one of its run."""
    table = Table("model", "sparsity", "storage", "dense", "dendritic", "times as fast", "memory", "with topology")
    for row in (row for row in rows if row["arm"] != "dense"):
        key = {name: row[name] for name in ("model", "threads", "epochs") if name in row}
        (dense,) = (
            each
            for each in rows
            if each["arm"] == "dense"
            and key.items() <= each.items()
            and ("training_s" in row or each["sparsity"] == row["sparsity"])
        )
        clock, unit = ("step_ms_median", "ms") if "step_ms_median" in row else ("training_s", "s")
        shares = ["", ""]
        if "training_bytes" in row:
            whole = row["training_bytes"] + row["topology_bytes"]
            shares = [f"{part / dense['training_bytes']:.3f}" for part in (row["training_bytes"], whole)]
        table.add_row(
            row["model"],
            f"{row['sparsity']:.0%}",
            row.get("storage") or "compact",
            *(f"{each[clock]:.1f} {unit}" for each in (dense, row)),
            f"{dense[clock] / row[clock]:.2f}",
            *shares,
        )
    return table


def main() -> None:
    """Measure what is missing and show the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=["mlp-2048x4", "minilm-32"], choices=MODELS)
    parser.add_argument("--sparsity", nargs="+", type=float, default=[0.9, 0.95])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--jobs", nargs="*", default=JOBS, choices=JOBS)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--data-dir", type=Path, help="of the only job in --jobs")
    parser.add_argument("--json", type=Path, help="file for the rows; an existing one is continued")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    results, threads = ResultsFile(options.json), {"threads": options.threads}

    def measure(make: Callable[[], Iterator[dict[str, Any]]], **key: Any) -> None:
        if not results.has(**threads, **key):
            results.add(*({**row, **threads} for row in make()))

    for name in options.models:
        for sparsity in options.sparsity:
            measure(lambda n=name, s=sparsity: steps(n, s, options.steps), model=name, sparsity=sparsity)  # type: ignore[misc]
    for dataset in options.jobs:
        measure(lambda d=dataset: job(d, options.data_dir, options.epochs), model=dataset, epochs=options.epochs)  # type: ignore[misc]
    Console().print(summary(results.rows))
