"""What a budget is spent on, and the accuracy it leaves: the reference job's networks at equal latency.

``python bench/budgets.py --dataset cifar10 --data-dir DIR --seeds 5 --json FILE``; run it again to continue.

Each seed trains four arms from the same weights on the same batches: dense; 90 % sparse with ERK's densities; and
budgets of multiply-adds and of latency, both set so that the modelled latency is that of the ERK arm. The budget of
multiply-adds is found with the weights that the dense arm has at the end of the warm-up. The engine is calibrated once
a file, and all trained models of a seed are timed in turns.
"""

import argparse
import copy
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import sparbor
from bench.job.arms import Arm, Split, accuracy_percent, load_split, make_arms, train
from bench.job.job import Job
from bench.job.measure import latencies, parameter_counts
from bench.job.models import TASKS
from bench.results_file import ResultsFile
from sparbor.allocation.cost_budget import CostBudget
from sparbor.allocation.shares import erk_densities
from sparbor.calibration.calibration import calibrated
from sparbor.nn.layers import weight_names
from sparbor.nn.wrapping import plain_layer
from sparbor.recipe.budget import UNITS, Costs
from sparbor.recipe.recipe import Recipe
from sparbor.topology.rewire import RewireInput, capacity

SPARSITY = 0.9
HALVINGS = 30
Tables = dict[str, Costs]


def budget_of(unit: str, limit: float, costs: Costs | None = None) -> sparbor.Budget:
    """A budget in one unit, of costs that are known or still to be found."""
    limits: dict[str, Any] = {unit: limit}
    return sparbor.Budget(**limits, costs=costs)


def calibrate(job: Job, split: Split) -> Tables:
    """What the layers of the job's network cost, in every unit."""
    recipes = {unit: Recipe(budget=budget_of(unit, 1.0)) for unit in UNITS}
    made = {unit: calibrated(recipe, job.task.build(), split.training.images[:1]) for unit, recipe in recipes.items()}
    return {unit: recipe.budget.costs for unit, recipe in made.items() if recipe.budget and recipe.budget.costs}


def spending(tables: Tables, unit: str, limit: float) -> CostBudget:
    """How a budget would be divided among all layers."""
    sizes = {layer.name: layer.weights for layer in tables[unit].layers}
    return CostBudget(budget_of(unit, limit, tables[unit]), sparbor.Slots(), sizes, [])


def layers_of(model: nn.Module, unit: str) -> list[RewireInput]:
    """The network's layers as rewiring sees them, with the masks that they have."""
    in_slots = unit != "multiply_adds"
    layers: list[Any] = [layer for layer in model.children() if weight_names(plain_layer(layer))]
    return [
        RewireInput(layer.weight_matrix(), layer.to_matrix(layer.mask), None, 1, in_slots)
        if isinstance(layer, sparbor.PAINeuronModule)
        else RewireInput(
            layer.weight.detach().flatten(1), torch.ones_like(layer.weight.flatten(1)) > 0, None, 1, in_slots
        )
        for layer in layers
    ]


def cost(tables: Tables, unit: str, model: nn.Module) -> float:
    """What a model costs with the masks that it has."""
    return spending(tables, unit, float("1e18")).cost(layers_of(model, unit))


def latency_of(tables: Tables, layers: Sequence[RewireInput], densities: Sequence[float]) -> float:
    """What layers of these densities would take."""
    table, full = tables["latency_us"], [capacity(layer, sparbor.Slots()) for layer in layers]
    return table.rest + sum(
        each.dense if density > each.sparse_to else each.fixed + each.each * density * slots
        for each, density, slots in zip(table.layers, densities, full, strict=True)
    )


def equal_multiply_adds(tables: Tables, model: nn.Module, latency_us: float) -> float:
    """The budget of multiply-adds that comes to this latency with the weights that ``model`` has, by bisection."""
    layers, in_slots = layers_of(model, "multiply_adds"), layers_of(model, "latency_us")
    low, high = 0.0, sum(layer.dense for layer in tables["multiply_adds"].layers)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        densities = [share.density for share in spending(tables, "multiply_adds", middle).shares(layers)]
        if latency_of(tables, in_slots, densities) > latency_us:
            high = middle
        else:
            low = middle
    return low


def run_seed(job: Job, tables: Tables, console: Console) -> list[dict[str, Any]]:
    """Train, test and time all arms of one seed; a row for each."""
    split = load_split(job)
    arms = make_arms(job, split, {"dense": None})
    warm = arms[0].model
    for epoch in train(arms, split, job):
        if epoch == 0:
            warm = copy.deepcopy(arms[0].model)
    for name, recipe in recipes(job, tables, warm).items():
        (arm,) = make_arms(job, split, {name: recipe})
        for _ in train([arm], split, job):
            pass
        console.print(f"seed {job.seed}: {name} {arm.epochs[-1].validation_accuracy_percent:.2f} %")
        arms.append(arm)
    return rows_of(job, split, arms, tables)


def recipes(job: Job, tables: Tables, warm: nn.Module) -> dict[str, Recipe]:
    """Of the sparse arms, all of the modelled latency that ERK's densities come to."""
    layers = layers_of(warm, "latency_us")
    shapes: list[Any] = [part.weight.shape for part in warm.children() if weight_names(part)]
    latency_us = latency_of(tables, layers, erk_densities(shapes, 1 - SPARSITY))
    limits = {"multiply_adds": equal_multiply_adds(tables, warm, latency_us), "latency_us": latency_us}
    budgets = {unit: budget_of(unit, limit, tables[unit]) for unit, limit in limits.items()}
    plain: dict[str, Any] = {"sparsity": None, "distribution": None, "method": "rigl"}
    return {
        "erk": replace(job.recipe(), sparsity=SPARSITY, distribution="erk", method="rigl"),
        **{unit: replace(job.recipe(), **plain, budget=budget) for unit, budget in budgets.items()},
    }


def rows_of(job: Job, split: Split, arms: Sequence[Arm], tables: Tables) -> list[dict[str, Any]]:
    """What the arms came to; their deployed models are timed in turns."""
    image = split.test.images[:1]
    runtimes = {arm.name: sparbor.deploy(arm.model, image) for arm in arms}
    x = image.numpy()
    outputs = {name: np.empty((1, *runtime.output_shape), np.float32) for name, runtime in runtimes.items()}
    measured = latencies({name: partial(runtimes[name], x, out=outputs[name]) for name in runtimes})
    rows = []
    for arm in arms:
        modelled = {unit: cost(tables, unit, arm.model) for unit in UNITS}
        counts = parameter_counts(arm.model)
        rows.append(
            {
                "dataset": job.dataset,
                "data": split.description,
                "epochs": job.epochs,
                "seed": job.seed,
                "arm": arm.name,
                "validation_accuracy": arm.epochs[-1].validation_accuracy_percent,
                "test_accuracy": accuracy_percent(arm.model, split.test),
                "active_parameters": counts["active_parameters"],
                "densities": {layer["name"]: 1 - layer["sparsity"] for layer in counts["layers"]},
                "multiply_adds": modelled["multiply_adds"],
                "modelled_kilobytes": modelled["kilobytes"],
                "stored_kilobytes": runtimes[arm.name].program.weight_bytes / 1000,
                "predicted_latency_us": modelled["latency_us"],
                "measured_latency_us": measured[arm.name].median_us,
            }
        )
    return rows


def summary(rows: list[dict[str, Any]]) -> Table:
    """Means over seeds."""
    columns = {
        "validation (%)": ("validation_accuracy", ".2f"),
        "test (%)": ("test_accuracy", ".2f"),
        "active": ("active_parameters", ",.0f"),
        "multiply-adds": ("multiply_adds", ",.0f"),
        "KB": ("stored_kilobytes", ".0f"),
        "predicted µs": ("predicted_latency_us", ".2f"),
        "measured µs": ("measured_latency_us", ".2f"),
    }
    table = Table("arm", *columns, "ratio")
    table.title = f"{rows[0]['dataset']}, {rows[0]['epochs']} epochs, {len({row['seed'] for row in rows})} seeds"
    table.caption = f"Data: {', '.join(sorted({row['data'] for row in rows}))}."
    for name in dict.fromkeys(row["arm"] for row in rows):
        arm = [row for row in rows if row["arm"] == name]
        ratio = mean(row["measured_latency_us"] / row["predicted_latency_us"] for row in arm)
        means = (format(mean(row[column] for row in arm), form) for column, form in columns.values())
        table.add_row(name, *means, f"{ratio:.2f}")
    return table


def stored_tables(results: ResultsFile, job: Job) -> Tables:
    """The calibration of the results, made if they have none: all seeds go by one."""
    if job.dataset not in [note["dataset"] for note in results.notes.get("costs", [])]:
        tables = calibrate(job, load_split(job))
        results.note("costs", {"dataset": job.dataset, "tables": {unit: asdict(each) for unit, each in tables.items()}})
    (note,) = [note for note in results.notes["costs"] if note["dataset"] == job.dataset]
    return {unit: Costs.from_dict(each) for unit, each in note["tables"].items()}


def main() -> None:
    """Run the seeds that are missing and show the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10", choices=TASKS)
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to SEEDS - 1")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path, help="file for the rows; an existing one is continued")
    options = parser.parse_args()

    torch.set_num_threads(1)
    results, console = ResultsFile(options.json), Console()
    for seed in range(options.seeds):
        job = Job(dataset=options.dataset, epochs=options.epochs, seed=seed, data_dir=options.data_dir)
        if not results.has(dataset=job.dataset, epochs=job.epochs, seed=seed):
            results.add(*run_seed(job, stored_tables(results, job), console))
    same_run = {"dataset": options.dataset, "epochs": options.epochs}
    console.print(summary([row for row in results.rows if same_run.items() <= row.items()]))
