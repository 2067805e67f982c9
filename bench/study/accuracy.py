"""The accuracy study: dendritic models against dense and other sparse ones, at equal epochs, on the same batches.

``python bench/accuracy.py --dataset mnist --sparsity 0.7 0.9 --seeds 5 --json FILE`` trains the dense and the
slots arm; ``--arms`` names others, and ``--plan mnist`` takes the whole grid, the most wanted cells first. Two cells
are trained at a time, one on each core. Whatever FILE holds is not trained again: run it again to continue, in
another session, on another commit or machine. ``python bench/accuracy_report.py`` makes docs/study.md of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from bench.data.cache import cache_dir
from bench.job.job import LEARNING_RATE_SCHEDULES
from bench.job.models import TASKS
from bench.study.arms import ARMS
from bench.study.plans import PLANS, grid
from bench.study.pool import absolute_path, train_all
from bench.study.rows import Cell, Row, StudyFile, cell_of
from bench.study.tables import accuracy_table, points_apart

PARITY_POINTS = 0.05


def cells_of(options: argparse.Namespace) -> list[Cell]:
    """What the command line asks for, in the order in which it is to be trained."""
    if options.plan:
        return list(dict.fromkeys(PLANS[options.plan]()))
    return [
        cell
        for schedule in options.schedule
        for cell in grid(
            options.dataset,
            options.arms,
            options.sparsity,
            schedule=schedule,
            epochs=options.epochs,
            seeds=range(options.seeds),
        )
    ]


def check_parity(rows: Sequence[Row]) -> None:
    """The engine's test accuracy must be PyTorch's, but for its rounding: within 0.05 points, or one image."""
    off = [row for row in rows if points_apart(row) > max(PARITY_POINTS, 100 / row["test_images"]) + 1e-9]
    if off:
        sys.exit("\n".join(f"{cell_of(row)}: engine accuracy is {points_apart(row):.3f} points off" for row in off))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", choices=PLANS, help="a whole grid, instead of the options up to --epochs")
    parser.add_argument("--dataset", default="mnist", choices=TASKS)
    parser.add_argument("--arms", nargs="+", default=["dense", "slots"], choices=ARMS)
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.9])
    parser.add_argument("--schedule", nargs="+", default=["constant"], choices=LEARNING_RATE_SCHEDULES)
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to SEEDS - 1")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--data-dir", type=absolute_path)
    parser.add_argument("--json", type=Path, help="file for the rows; an existing one is continued")
    parser.add_argument(
        "--scratch",
        type=absolute_path,
        default=cache_dir() / "study",
        help="folder for trunks and deployed models",
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="only say what would be trained")
    return parser.parse_args()


def main() -> None:
    """Train what is missing and show the summary."""
    options = parse()
    torch.set_num_threads(1)  # as the processes that train: the environment of the rows says so
    console = Console()
    results = StudyFile(options.json)
    cells = cells_of(options)
    absent = dict.fromkeys(cell.arm for cell in cells if not ARMS[cell.arm].installed)
    for arm in absent:
        console.print(f"{arm} is not measured: {ARMS[arm].package} is not installed")
    missing = [cell for cell in results.missing(cells) if cell.arm not in absent]
    stale = {cell_of(row) for row in results.stale()}
    console.print(
        f"{len(missing)} of {len(cells)} cells to train; {len(stale)} rows are of other settings than today's"
    )
    if options.list:
        console.print(*(f"{cell}{' (again)' if cell in stale else ''}" for cell in missing), sep="\n", highlight=False)
        return
    failed = 0
    outcomes = train_all(missing, options.data_dir, options.scratch, options.processes)
    for number, (cell, outcome) in enumerate(outcomes, start=1):
        if isinstance(outcome, BaseException):
            failed += 1
            said = f"failed, {type(outcome).__name__}: {outcome}"
        else:
            results.add(outcome)
            said = f"validation {outcome['validation_accuracy']:.2f}, test {outcome['test_accuracy']:.2f} %"
        console.print(f"{number}/{len(missing)} {cell}: {said}", soft_wrap=True, highlight=False)
    asked_for = set(cells)
    rows = [row for row in results.current() if cell_of(row) in asked_for]
    for dataset, schedule, epochs in dict.fromkeys((cell.dataset, cell.schedule, cell.epochs) for cell in cells):
        console.print(accuracy_table(rows, dataset, schedule, epochs))
    console.print(
        f"on the engine test accuracies are the same within {max(map(points_apart, rows), default=0):.3f} points"
    )
    check_parity(rows)
    if failed:
        sys.exit(f"{failed} cells failed: run it again when what is said of them above is mended")
