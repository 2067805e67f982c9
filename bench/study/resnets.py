"""A residual network on CIFAR-10, dense and sparse, by a plan, and how it compares with the literature.

``python bench/resnet18.py --json FILE`` trains what FILE does not hold yet, on a GPU if there is one, and
``python bench/resnet20.py`` a smaller network for fewer epochs; a run that was interrupted goes on from its checkpoint.
``--steps 5`` stops each run after five steps, to show that it works. ``--table --json FILE`` trains nothing and prints
the comparison.

The plans, and in what they differ from the papers', stand in ``resnet_plans.py``. The published accuracies are the
authors' claims for RigL (Evci et al. 2020, arXiv:1911.11134) and SRigL (Lasby et al. 2024, arXiv:2305.02299).
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench.job import environment, report
from bench.job.arms import Split, accuracy_percent, load_split
from bench.job.experiment import check_deployed
from bench.job.job import Job
from bench.job.measure import parameter_counts
from bench.results_file import ResultsFile
from bench.study.resnet_plans import PATTERNS, Plan
from bench.study.resnet_training import Run, Training, load_checkpoint, save_checkpoint
from sparbor import deploy
from sparbor.cli.ending import end_cleanly
from sparbor.cli.parser import Parser
from sparbor.errors import ArgumentError
from sparbor.native import choose_kernel_set

ARMS = ("dense", *PATTERNS)


def wanted_runs(plan: Plan, options: argparse.Namespace) -> Iterator[Run]:
    """Seed by seed, so that arms can be paired as early as possible."""
    for seed in range(options.seeds):
        for arm in options.arms:
            for sparsity in [0.0] if arm == "dense" else options.sparsity:
                yield Run(
                    plan,
                    arm,
                    Job(
                        dataset="cifar10",
                        epochs=options.epochs,
                        sparsity=sparsity,
                        seed=seed,
                        data_dir=options.data_dir,
                        device=options.device,
                        learning_rate=plan.learning_rate,
                    ),
                )


def key(run: Run) -> dict[str, Any]:
    """What tells the row of a run from others."""
    return {
        "dataset": run.job.dataset,
        "model": run.plan.model,
        "arm": run.arm,
        "sparsity": run.job.sparsity,
        "seed": run.job.seed,
        "epochs": run.job.epochs,
    }


def row(training: Training, tested: dict[str, Any]) -> dict[str, Any]:
    """What is known of a run; ``tested`` holds what is measured once, at its end."""
    run, arm, counts = training.run, training.arm, parameter_counts(training.arm.model)
    recipe = run.recipe()
    return {
        **key(run),
        "data": training.split.description,
        "distribution": recipe and recipe.distribution,
        "schedule": run.plan.rate.__name__,
        "steps": training.steps,
        "total_steps": training.total_steps,
        "validation_accuracy": arm.epochs[-1].validation_accuracy_percent if arm.epochs else None,
        "test_accuracy": None,
        "engine_test_accuracy": None,
        **tested,
        "active_parameters": counts["active_parameters"],
        "total_parameters": counts["total_parameters"],
        "training_seconds": arm.total_effort().seconds,
    }


def test_and_deploy(training: Training, model_file: Path) -> dict[str, Any]:
    """Test a finished run, the only time its test images are used, and save its deployed model."""
    arm, split = training.arm, training.split
    test_accuracy = accuracy_percent(arm.model, split.test)
    image = split.test.images[:1].cpu()
    runtime = deploy(arm.model.cpu(), image, byte_input=training.run.job.task.byte_input)
    deployed = check_deployed(arm, runtime, split, "word16")
    runtime.save(model_file)
    return {"test_accuracy": test_accuracy, "engine_test_accuracy": deployed["test_accuracy_percent"]}


def carry_out(run: Run, split: Split, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Train a run from where its checkpoint is, to its end or to ``--steps``; its row."""
    checkpoint = options.out / f"{run.name}.checkpoint"
    training = Training(run, split)
    if checkpoint.exists():
        load_checkpoint(training, checkpoint)
        console.print(f"{run.name}: goes on from step {training.steps:,}")
    try:
        for _ in training.advance(options.steps or training.total_steps):
            save_checkpoint(training, checkpoint)
            console.print(progress(training))
    except KeyboardInterrupt as interrupt:
        state = f"goes on from {checkpoint}" if checkpoint.exists() else "starts anew"
        raise KeyboardInterrupt(f"next time {run.name} {state}") from interrupt
    tested = {}
    if training.finished:
        tested = test_and_deploy(training, options.out / f"{run.name}.safetensors")
    return row(training, tested)


def progress(training: Training) -> str:
    """A line of what is done."""
    done = f"{training.run.name}: step {training.steps:,} of {training.total_steps:,}"
    density = f"density {training.arm.density():.4f}"
    in_epoch = training.steps % training.steps_an_epoch
    if in_epoch:
        return f"{done}, loss {training.arm.loss_sum.item() / in_epoch:.3f}, {density}"
    epoch = training.arm.epochs[-1]
    return (
        f"{done}, epoch {epoch.epoch + 1}: loss {epoch.training_loss:.3f},"
        f" validation {epoch.validation_accuracy_percent:.2f} %, {density}, {epoch.seconds:.0f} s"
    )


def comparison(plan: Plan, rows: list[dict[str, Any]], epochs: int) -> Table:
    """Finished runs of that many epochs beside the published accuracies; what was not measured says so."""
    ours = [row for row in rows if row.get("model") == plan.model and row["epochs"] == epochs]
    finished = [row for row in ours if row["test_accuracy"] is not None]
    table = Table("arm", "active", "published", "measured", "gap", "seeds")
    published = f" (published: {plan.epochs})" if plan.published else ""
    table.title = f"{plan.title} on CIFAR-10, test accuracy in % after {epochs} epochs{published}"
    if finished:
        table.caption = f"Data: {', '.join(sorted({row['data'] for row in finished}))}."
    cells = {("dense", 0.0), *((arm, sparsity) for arm in PATTERNS for sparsity in plan.sparsities)}
    cells |= {(row["arm"], row["sparsity"]) for row in finished}
    for arm, sparsity in sorted(cells, key=lambda cell: (ARMS.index(cell[0]), cell[1])):
        of_cell = [row for row in finished if (row["arm"], row["sparsity"]) == (arm, sparsity)]
        table.add_row(
            "dense" if arm == "dense" else f"{arm} {100 * sparsity:.3g} %",
            *comparison_cells(of_cell, plan.published.get(sparsity)),
        )
    return table


def comparison_cells(rows: list[dict[str, Any]], published: float | None) -> list[str]:
    """The cells of one arm at one sparsity after its name."""
    shown = f"{published:.2f}" if published else ""
    if not rows:
        return ["", shown, "not measured yet", "", ""]
    accuracies = [row["test_accuracy"] for row in rows]
    spread = f" ± {stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    return [
        f"{mean(row['active_parameters'] for row in rows) / 1e6:.2f} M",
        shown,
        f"{mean(accuracies):.2f}{spread}",
        f"{mean(accuracies) - published:+.2f}" if published else "",
        str(len(rows)),
    ]


def read_rows(path: Path | None) -> list[dict[str, Any]]:
    """The rows of a results file, wherever they were measured; none without a file."""
    if path is None:
        return []
    try:
        return [dict(row) for row in json.loads(path.read_text())["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArgumentError(
            f"json={str(path)!r}: cannot be read as results ({error}); name a file of this script"
        ) from error


def run(plan: Plan, options: argparse.Namespace) -> None:
    """Train what is missing, and print the comparison."""
    console = Console()
    if options.table:
        console.print(comparison(plan, read_rows(options.json), options.epochs))
        return
    for name in ("seeds", "steps"):
        if (number := getattr(options, name)) is not None and number < 1:
            raise ArgumentError(f"{name}={number}: must be at least 1")
    if options.device == "cpu":
        torch.set_num_threads(1)  # PyTorch 2.13 crashes with two where a batch norm's images lie channels last
    runs = list(wanted_runs(plan, options))
    choose_kernel_set()  # models are deployed in the end: a missing engine should not wait for the training
    report.prepare(options.out)
    repeat_exactly(options.device)
    if options.json and options.json.exists():
        read_rows(options.json)  # for its error
    results = ResultsFile(options.json, {"device": environment.describe(options.device)["device"]})
    split = load_split(runs[0].job)
    results.add()  # a file that cannot be written should not wait for the training either
    for each in runs:
        if any(key(each).items() <= row.items() and row["test_accuracy"] is not None for row in results.rows):
            continue  # finished before
        new = carry_out(each, split, options, console)
        results.forget(key(each))
        results.add(new)
    console.print(comparison(plan, results.rows, options.epochs))


def repeat_exactly(device: str) -> None:
    """Make CUDA take algorithms that give the same result each time, and warn where it has none; the CPU does so."""
    if torch.device(device).type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def main(plan: Plan, arguments: Sequence[str] | None = None) -> int:
    """Read the options; returns the exit status."""
    script = f"{plan.model.partition('-')[0]}.py"
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["dense", "slots"], help="(default: dense slots)")
    parser.add_argument("--sparsity", type=float, nargs="+", default=plan.sparsities, help="of the arms but dense")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to SEEDS - 1 (default: 5)")
    parser.add_argument("--epochs", type=int, default=plan.epochs, help=f"(default: {plan.epochs})")
    parser.add_argument(
        "--steps", type=int, help="stop each run after so many steps; without it, it goes on from there"
    )
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(default: %(default)s)"
    )
    parser.add_argument("--data-dir", type=Path, help="directory or archive with CIFAR-10 (default: find or fetch it)")
    parser.add_argument(
        "--out", type=Path, default=Path("PAI", script[:-3]), help="for checkpoints and deployed models"
    )
    parser.add_argument("--json", type=Path, help="file for the rows; an existing one is continued")
    parser.add_argument("--table", action="store_true", help="print the comparison of what --json holds, train nothing")
    parser.set_defaults(run=partial(run, plan))
    return end_cleanly(script, parser.parse_args(arguments))
