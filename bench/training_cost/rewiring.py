"""What a step costs that changes the topology of a large network, against the ordinary steps before it.

``python bench/rewiring.py --json FILE``; run it again to continue. Each network trains on noise with fused AdamW and
``Recipe(sparsity=0.8)``. After the fourth step its neurons are put in order and the layers become sparse: ordinary are
the dense steps before. Then synapses are rewired after every fourth step: ordinary are the sparse steps between. Before
the fourth step's end the model has been traced, which has a column of its own. Counted is processor time on one thread,
which other programs on the machine disturb least.
"""

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from bench.results_file import ResultsFile
from bench.training_cost.networks import NETWORKS
from sparbor.recipe.recipe import Recipe
from sparbor.recipe.schedule import Schedule
from sparbor.train.perforator import perforate

SPARSITY = 0.8
INTERVAL = 4  # steps from one change of topology to the next
KINDS = ("dense", "tracing", "regrouping", "sparse", "rewiring")


def kind_of(step: int) -> str | None:
    """Which of the kinds the step with this number, from 1 on, is; the first one is none: memory is new then."""
    if step <= INTERVAL:
        return {1: None, INTERVAL - 1: "tracing", INTERVAL: "regrouping"}.get(step, "dense")
    return "sparse" if step % INTERVAL else "rewiring"


def measure(name: str, batch: int, rewirings: int) -> dict[str, Any]:
    """Train through the regrouping and so many rewirings; the median time of each kind of step."""
    build, size = NETWORKS[name]
    torch.manual_seed(0)
    model = build()
    x, labels = torch.randn(batch, 3, size, size), torch.randint(10, (batch,))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    steps = INTERVAL * (rewirings + 1)
    # The last step is not the schedule's last, after which nothing is rewired.
    schedule = Schedule(warmup=0, ramp_end=(INTERVAL + 0.5) / (steps + 1), rewire_end=1, interval=INTERVAL)
    perforator = perforate(model, optimizer, Recipe(sparsity=SPARSITY, schedule=schedule), total_steps=steps + 1)
    seconds: dict[str | None, list[float]] = {}
    for step in range(1, steps + 1):
        start = time.process_time()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.setdefault(kind_of(step), []).append(time.process_time() - start)
    weights = sum(layer.mask.numel() for layer in perforator.modules.values())
    medians = {f"{kind}_s": median(seconds[kind]) for kind in KINDS}
    return {"model": name, "batch": batch, "sparsity": SPARSITY, "weights": weights, **medians}


def summary(rows: list[dict[str, Any]]) -> Table:
    """Each network's steps, and how many ordinary ones a change of topology takes."""
    table = Table("model", "batch", *KINDS, "tracing", "regrouping", "rewiring")
    for row in rows:
        ratios = [row["tracing_s"] / row["dense_s"], row["regrouping_s"] / row["dense_s"]]
        ratios.append(row["rewiring_s"] / row["sparse_s"])
        figures = [f"{row[f'{kind}_s']:.2f} s" for kind in KINDS] + [f"{ratio:.2f} x" for ratio in ratios]
        table.add_row(row["model"], str(row["batch"]), *figures)
    return table


def main() -> None:
    """Measure what is missing and show the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    large = [name for name in NETWORKS if name != "tiny"]
    parser.add_argument("--models", nargs="*", default=large, choices=NETWORKS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rewirings", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the rows; an existing one is continued")
    options = parser.parse_args()

    torch.set_num_threads(1)
    results = ResultsFile(options.json)
    for name in options.models:
        if not results.has(model=name, batch=options.batch):
            results.add(measure(name, options.batch, options.rewirings))
    Console(width=140).print(summary(results.rows))
