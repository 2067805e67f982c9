"""Batch-1 latency on the engine of the very models whose accuracies the study holds; all take turns in one run.

``python bench/accuracy_latency.py`` on an otherwise idle machine. A model that is no longer kept in the scratch
folder is trained once more, and its row is replaced. The file is written anew: latencies of two runs are not mixed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from bench import RESULTS
from bench.data.cache import cache_dir
from bench.job import measure
from bench.job.models import TASKS
from bench.results_file import ResultsFile
from bench.study.pool import absolute_path, train_all
from bench.study.report import LATENCIES, STUDY_FILES
from bench.study.rows import Row, StudyFile, cell_of, model_file
from sparbor.engine.runtime import load

ROUNDS, CALLS_A_ROUND = 20, 50


def deployed_call(row: Row, scratch: Path) -> Callable[[], object]:
    """One call of the row's model, with one image."""
    runtime = load(model_file(scratch, row), threads=1)
    task = TASKS[row["dataset"]]
    pixels = torch.randint(256, (1, *task.image_shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image = task.normalise(pixels).numpy()
    return partial(runtime, image, out=np.empty((1, task.classes), dtype=np.float32))


def train_again(results: StudyFile, rows: list[Row], options: argparse.Namespace) -> None:
    """Replace the rows whose models are gone."""
    gone = [cell_of(row) for row in rows if not model_file(options.scratch, row).exists()]
    for cell, outcome in train_all(gone, options.data_dir, options.scratch, options.processes):
        if isinstance(outcome, BaseException):
            raise outcome
        results.add(outcome)
        Console().print(f"trained again: {cell}")


def main() -> None:
    """Time all models of the chosen data set and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", nargs="+", default=list(STUDY_FILES), choices=STUDY_FILES)
    parser.add_argument("--schedule", nargs="+", default=["constant"])
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to SEEDS - 1")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the study's files")
    parser.add_argument("--data-dir", type=absolute_path, help="for models to train again, of one data set")
    parser.add_argument("--scratch", type=absolute_path, default=cache_dir() / "study")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()

    def wanted(results: StudyFile) -> list[Row]:
        rows = [row for row in results.current() if row["engine_test_accuracy"] is not None]
        return [row for row in rows if row["schedule"] in options.schedule and row["seed"] < options.seeds]

    timed = []
    for dataset in options.dataset:
        results = StudyFile(options.results / STUDY_FILES[dataset])
        train_again(results, wanted(results), options)
        timed += wanted(results)
    calls = {str(index): deployed_call(row, options.scratch) for index, row in enumerate(timed)}
    latencies = measure.latencies(calls, rounds=ROUNDS, calls_a_round=CALLS_A_ROUND)
    (options.results / LATENCIES).unlink(missing_ok=True)
    ResultsFile(options.results / LATENCIES).add(
        *(
            {
                **asdict(cell_of(row)),
                "test_accuracy": row["test_accuracy"],
                "latency_us_median": latencies[str(index)].median_us,
                "latency_us_p95": latencies[str(index)].p95_us,
                "batch": 1,
                "threads": 1,
                "stored_bytes": model_file(options.scratch, row).stat().st_size,
            }
            for index, row in enumerate(timed)
        )
    )
    Console().print(f"{len(timed)} models timed: {options.results / LATENCIES}")
