"""Fine-tuning from trained weights: the reference job's network, trained dense, made sparse in an epoch.

``python bench/fine_tuning.py --data-dir DIR --seeds 3 --json FILE``; run it again to continue. Each seed's network is
trained dense as in the accuracy study, with a rate that falls to zero, and kept. From its weights every arm is then
tuned on the same batches by AdamW, whose rate rises for a tenth of the run and falls to zero: dense, which is the
control; by ``Recipe.fine_tuning``; and by that recipe with one thing changed. Arms whose name ends in ``distilled``
learn from the scores of the trained network, too. Settings are chosen on validation images.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import nn

import sparbor
from bench.data.cache import cache_dir
from bench.job.arms import BATCH, Split, accuracy_percent, load_split, scores, steps_an_epoch
from bench.job.job import Job
from bench.results_file import ResultsFile
from bench.study.pool import absolute_path
from bench.study.run import trunk
from sparbor import Recipe, Schedule

DENSE_EPOCHS = 6
WARM_UP = 0.1  # of the run
TEMPERATURE = 2.0
CHANGES: dict[str, dict[str, Any]] = {
    "fine-tuning": {},
    "exponent 0": {"lr_density_exponent": 0.0},
    "exponent 1": {"lr_density_exponent": 1.0},
    "ramp to 0.5": {"schedule": Schedule(warmup=0.1, ramp_end=0.5, rewire_end=0.5)},
    "rigl": {"method": "rigl", "schedule": Schedule(warmup=0.1, ramp_end=0.75, rewire_end=0.9)},
    "quads": {"pattern": sparbor.Quads()},
}
DISTILLED = " distilled"
ARMS = ["dense", *CHANGES, *(name + DISTILLED for name in ("dense", "fine-tuning"))]


def recipe_of(arm: str, sparsity: float) -> Recipe | None:
    """What the arm is tuned by; ``None``: it stays dense."""
    name = arm.removesuffix(DISTILLED)
    return None if name == "dense" else Recipe.fine_tuning(sparsity, **CHANGES[name])


def rate_at(share: float) -> float:
    """The factor of the learning rate when this share of the steps is done: a warm-up, then linear to zero."""
    return min(share / WARM_UP, (1 - share) / (1 - WARM_UP))


def tuned(arm: str, dense: nn.Module, split: Split, options: argparse.Namespace, seed: int) -> nn.Module:
    """A copy of the ``dense`` network, tuned as the arm is."""
    model, distilled = copy.deepcopy(dense), arm.endswith(DISTILLED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, fused=True)
    total_steps = options.epochs * steps_an_epoch(split)
    recipe = recipe_of(arm, options.sparsity)
    if recipe is not None:
        sparbor.perforate(model, optimizer, recipe, total_steps=total_steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at((step + 1) / (total_steps + 1)))
    teaching = scores(dense, split.training.images) if distilled else None
    order = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(options.epochs):
        for batch in torch.randperm(len(split.training.labels), generator=order).split(BATCH):
            answers, labels = model(split.training.images[batch]), split.training.labels[batch]
            if teaching is None:
                loss = F.cross_entropy(answers, labels)
            else:
                loss = sparbor.distillation_loss(answers, teaching[batch], labels=labels, temperature=TEMPERATURE)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    return model


def row_of(
    arm: str, key: dict[str, Any], dense: nn.Module, split: Split, options: argparse.Namespace
) -> dict[str, Any]:
    """Tune, validate and test one arm of one seed."""
    model = tuned(arm, dense, split, options, key["seed"])
    layers = [layer for layer in model.modules() if isinstance(layer, sparbor.PAINeuronModule)]
    weights = sum(layer.mask.numel() for layer in layers)
    recipe = recipe_of(arm, options.sparsity)
    return {
        **key,
        "arm": arm,
        "recipe": recipe and recipe.to_json(),
        "data": split.description,
        "density": sum(layer.active_weights() for layer in layers) / weights if layers else 1.0,
        "dense_validation_accuracy": accuracy_percent(dense, split.validation),
        "dense_test_accuracy": accuracy_percent(dense, split.test),
        "validation_accuracy": accuracy_percent(model, split.validation),
        "test_accuracy": accuracy_percent(model, split.test),
    }


def summary(rows: Sequence[dict[str, Any]]) -> Table:
    """Means over seeds, and how far they are from the network that was trained dense."""
    table = Table("arm", "seeds", "density", "validation (%)", "against dense", "test (%)", "against dense")
    for arm in dict.fromkeys(row["arm"] for row in rows):
        of_arm = [row for row in rows if row["arm"] == arm]
        cells = []
        for part in ("validation_accuracy", "test_accuracy"):
            after, before = (mean(row[name] for row in of_arm) for name in (part, f"dense_{part}"))
            cells += [f"{after:.2f}", f"{after - before:+.2f}"]
        table.add_row(arm, str(len(of_arm)), f"{mean(row['density'] for row in of_arm):.3f}", *cells)
    return table


def main() -> None:
    """Tune what is missing and show the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--sparsity", type=float, default=0.8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=1, help="of fine-tuning")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the largest")
    parser.add_argument("--dense-schedule", default="cosine", choices=["constant", "cosine"])
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--data-dir", type=absolute_path)
    parser.add_argument("--scratch", type=absolute_path, default=cache_dir() / "study", help="keeps dense networks")
    parser.add_argument("--json", type=Path, help="file for the rows; an existing one is continued")
    options = parser.parse_args()

    torch.set_num_threads(1)
    results, console = ResultsFile(options.json), Console()
    split, same_run = None, {name: getattr(options, name) for name in ("sparsity", "epochs", "learning_rate")}
    same_run |= {"dataset": options.dataset, "dense_schedule": options.dense_schedule}
    for seed in options.seeds:
        job = Job(options.dataset, DENSE_EPOCHS, seed=seed, data_dir=options.data_dir)
        job = replace(job, learning_rate_schedule=options.dense_schedule)
        missing = [arm for arm in options.arms if not results.has(**same_run, seed=seed, arm=arm)]
        if not missing:
            continue
        split = split or load_split(job)
        dense = trunk(job, split, DENSE_EPOCHS * steps_an_epoch(split), options.scratch).model
        for arm in missing:
            results.add(row_of(arm, {**same_run, "seed": seed}, dense, split, options))
            console.print(f"seed {seed}, {arm}: {results.rows[-1]['validation_accuracy']:.2f} %", highlight=False)
    console.print(summary([row for row in results.rows if same_run.items() <= row.items()]))
