"""What the benchmark's training costs over bare PyTorch: both arms, with validation, masks, rewiring and progress
bars, against the same two trainings of plain dense models in the shortest loop.

``python bench/overhead.py --epochs 2 --rounds 3 --json FILE``
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from rich.console import Console

from bench.job.arms import BATCH, Split, load_split, make_arms, steps_an_epoch, train
from bench.job.job import Job
from bench.job.progress import Bars
from bench.results_file import ResultsFile


def bare(job: Job, split: Split) -> None:
    """Two dense trainings, without validation."""
    for _ in range(2):
        torch.manual_seed(job.seed)
        model = job.task.build()
        optimizer = torch.optim.Adam(model.parameters(), lr=job.learning_rate, fused=True)
        order = torch.Generator().manual_seed(job.seed)
        for _ in range(job.epochs):
            for batch in torch.split(torch.randperm(len(split.training.labels), generator=order), BATCH):
                F.cross_entropy(model(split.training.images[batch]), split.training.labels[batch]).backward()
                optimizer.step()
                optimizer.zero_grad()


def side_by_side(job: Job, split: Split) -> None:
    """The benchmark's own training of both arms."""
    arms = make_arms(job, split, {"baseline": None, "dendritic": job.recipe()})
    with Bars(Console(file=io.StringIO(), force_terminal=True)) as bars:
        bars.start(arms, job.epochs * steps_an_epoch(split))
        for _ in train(arms, split, job, bars.advance):
            bars.epoch_done(arms)


def seconds(training: Callable[[Job, Split], None], job: Job, split: Split) -> dict[str, float]:
    """Wall time, and processor time, which other programs on the machine disturb less."""
    wall, processor = time.perf_counter(), time.process_time()
    training(job, split)
    return {
        f"{training.__name__}_wall_s": time.perf_counter() - wall,
        f"{training.__name__}_processor_s": time.process_time() - processor,
    }


def main() -> None:
    """Take turns for some rounds and print the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    results = ResultsFile(options.json)
    job = Job(epochs=options.epochs, data_dir=options.data_dir)
    split = load_split(job)
    for number in range(options.rounds):
        figures = seconds(bare, job, split) | seconds(side_by_side, job, split)
        results.add(
            {"dataset": job.dataset, "epochs": job.epochs, "threads": options.threads, "round": number, **figures}
        )
        print(f"round {number}: " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    for clock in ("wall", "processor"):
        ratio = median(row[f"side_by_side_{clock}_s"] / row[f"bare_{clock}_s"] for row in results.rows)
        print(f"median ratio, {clock} time: {ratio:.3f} ({options.threads} threads)")
