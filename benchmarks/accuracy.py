"""Accuracy of dendritic models against dense ones: paired seeds, equal epochs, the same batches and recipe.

``python benchmarks/accuracy.py --dataset mnist --sparsity 0.7 0.9 --seeds 5 --json FILE``; run it again to continue.
``--dataset cifar10 --data-dir DIR --distribution uniform erk`` shows what the distribution over layers does.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import torch
from results_file import ResultsFile
from rich.console import Console
from rich.table import Table

from sparbor.benchmark.arms import Arm, Split, accuracy_percent, load_split, make_arms, train
from sparbor.benchmark.experiment import check_deployed, remaining_error_reduction
from sparbor.benchmark.job import Job
from sparbor.benchmark.measure import parameter_counts
from sparbor.benchmark.models import TASKS
from sparbor.distribution import DISTRIBUTIONS, Distribution
from sparbor.lowering import deploy

PROCESSES = 2
PARITY_POINTS = 0.05


class Variant(NamedTuple):
    """What dendritic arms differ in."""

    sparsity: float
    distribution: Distribution


@dataclass(frozen=True)
class PairedRun:
    """One seed: the dense arm and one dendritic arm for each sparsity and distribution, side by side."""

    job: Job
    variants: tuple[Variant, ...]


def run_seed(run: PairedRun) -> list[dict[str, Any]]:
    """Train and test all arms of one seed; a row for each."""
    torch.set_num_threads(1)
    split = load_split(run.job)
    recipes = {
        f"slots {sparsity} {distribution}": replace(run.job.recipe(), sparsity=sparsity, distribution=distribution)
        for sparsity, distribution in run.variants
    }
    arms = make_arms(run.job, split, {"dense": None, **recipes})
    for _ in train(arms, split, run.job):
        pass
    return [row(run.job, arm, split) for arm in arms]


def row(job: Job, arm: Arm, split: Split) -> dict[str, Any]:
    """One measurement; ``sparsity`` is what was asked for, the parameter counts are what was reached.

    ``engine_test_accuracy`` is the deployed model's, of dendritic arms.
    """
    counts = parameter_counts(arm.model)
    test_accuracy = accuracy_percent(arm.model, split.test)
    deployed = None
    if arm.perforator:
        deployed = check_deployed(arm, deploy(arm.model, split.test.images[:1], byte_input=job.task.byte_input), split)
    return {
        "dataset": job.dataset,
        "data": split.description,
        "arm": arm.name.split()[0],
        "sparsity": arm.perforator.recipe.sparsity if arm.perforator else 0.0,
        "distribution": arm.perforator.recipe.distribution if arm.perforator else None,
        "schedule": "constant",
        "seed": job.seed,
        "epochs": job.epochs,
        "validation_accuracy": arm.epochs[-1].validation_accuracy_percent,
        "test_accuracy": test_accuracy,
        "engine_test_accuracy": deployed and deployed["test_accuracy_percent"],
        "active_parameters": counts["active_parameters"],
        "total_parameters": counts["total_parameters"],
        "test_images": len(split.test.labels),
        "training_seconds": sum(epoch.seconds for epoch in arm.epochs),
    }


def missing_runs(options: argparse.Namespace, results: ResultsFile) -> Iterator[PairedRun]:
    """The seeds that the results do not hold in full."""
    distributions = options.distribution or [TASKS[options.dataset].recipe.distribution]
    variants = [Variant(*each) for each in product(options.sparsity, distributions)]
    for seed in range(options.seeds):
        run = {"dataset": options.dataset, "epochs": options.epochs, "seed": seed, "arm": "slots"}
        missing = tuple(variant for variant in variants if not results.has(**run, **variant._asdict()))
        if missing:
            job = Job(dataset=options.dataset, epochs=options.epochs, seed=seed, data_dir=options.data_dir)
            yield PairedRun(job, missing)


def add_new(results: ResultsFile, rows: list[dict[str, Any]]) -> None:
    """Keep rows that are not there yet: a continued seed trains its dense arm once more, to the same result."""
    identity = ("dataset", "epochs", "seed", "arm", "sparsity", "distribution")
    results.add(*(row for row in rows if not results.has(**{name: row[name] for name in identity})))


def summary(rows: list[dict[str, Any]]) -> Table:
    """Means over seeds, their spread, and what pairing the seeds says."""
    dense = {row["seed"]: row["test_accuracy"] for row in rows if row["arm"] == "dense"}
    table = Table("arm", "active", "test accuracy (%)", "paired difference", "error reduction")
    table.title = f"{rows[0]['dataset']}, {rows[0]['epochs']} epochs, {len(dense)} seeds"
    table.caption = f"Data: {', '.join(sorted({row['data'] for row in rows}))}."
    for sparsity, distribution in sorted({(row["sparsity"], row["distribution"] or "") for row in rows}):
        arm = [row for row in rows if (row["sparsity"], row["distribution"] or "") == (sparsity, distribution)]
        accuracies = [row["test_accuracy"] for row in arm]
        differences = [row["test_accuracy"] - dense[row["seed"]] for row in arm]
        reduction = remaining_error_reduction(mean(dense[row["seed"]] for row in arm), mean(accuracies))
        is_dense = arm[0]["arm"] == "dense"
        table.add_row(
            "dense" if is_dense else f"slots {sparsity:.0%}, {distribution}",
            f"{mean(row['active_parameters'] for row in arm):,.0f}",
            with_spread(accuracies, ""),
            "" if is_dense else with_spread(differences, "+"),
            "" if is_dense or reduction is None else f"{reduction:.1%}",
        )
    return table


def check_parity(rows: list[dict[str, Any]]) -> None:
    """The engine's test accuracy must be PyTorch's, but for its rounding: within 0.05 points, or one image."""
    for row in rows:
        apart = points_apart(row)
        if apart is not None and apart > max(PARITY_POINTS, 100 / row["test_images"]) + 1e-9:
            sys.exit(f"seed {row['seed']}, {in_short(row)}: engine accuracy is {apart:.3f} points off")


def points_apart(row: dict[str, Any]) -> float | None:
    """Between the test accuracies on the engine and in PyTorch; ``None`` where it did not run on the engine."""
    if row["engine_test_accuracy"] is None:
        return None
    return abs(row["engine_test_accuracy"] - row["test_accuracy"])


def in_short(row: dict[str, Any]) -> str:
    """An arm and its accuracy in a few words."""
    variant = f" {row['sparsity']:.0%} {row['distribution']}" if row["distribution"] else ""
    return f"{row['arm']}{variant} {row['test_accuracy']:.2f}"


def with_spread(values: list[float], sign: str) -> str:
    """Mean and sample standard deviation."""
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{mean(values):{sign}.2f}{spread}"


def main() -> None:
    """Run what is missing, two seeds at a time, and show the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist", choices=TASKS)
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.9])
    parser.add_argument(
        "--distribution", nargs="+", choices=DISTRIBUTIONS, help="of sparsity over layers (default: the recipe's)"
    )
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to SEEDS - 1")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path, help="file for the rows; an existing one is continued")
    options = parser.parse_args()

    results = ResultsFile(options.json)
    console = Console()
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for rows in pool.imap_unordered(run_seed, list(missing_runs(options, results))):
            add_new(results, rows)
            console.print(f"seed {rows[0]['seed']}: " + ", ".join(map(in_short, rows)))
    same_run = {"dataset": options.dataset, "epochs": options.epochs}
    rows = [row for row in results.rows if same_run.items() <= row.items()]
    apart = [points for row in rows if (points := points_apart(row)) is not None]
    if apart:
        console.print(f"on the engine test accuracies are the same within {max(apart):.3f} points")
    console.print(summary(rows))
    check_parity(rows)


if __name__ == "__main__":
    main()
