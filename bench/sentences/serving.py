"""What serving a fine-tuned sentence model costs, on the engine and on its rivals: accuracy, latency, memory, bytes.

``python bench/sentence_serving.py --model DIR --wordnet DIR --tweets FILE --scratch DIR --json FILE``, after
``bench/sentence_study.py`` with the same folders. ``make peers`` installs the rivals.

Rivals serve the dense model. What they store answers the test texts, of any length; OpenVINO's INT8 is quantized by
NNCF and calibrated on training texts. For latency, which is of one text and one thread, each is prepared for texts of
that very length, as in ``bench/latency.py``, and all take turns on the clock. Memory is that of a fresh process: from
after the imports to its peak, when the file is loaded and has answered one text of the longest length.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from bench import peers
from bench.inference.engine import Loaded
from bench.inference.latency import max_relative_error, timed
from bench.job.measure import memory_of
from bench.results_file import ResultsFile
from bench.sentences.runtimes import ENGINE, RUNTIMES
from bench.sentences.study import DENSE, SPARSITIES, Experiment, Row, add_sources, sources_of
from bench.sentences.tasks import TASKS
from bench.sentences.tokens import Tokens, padded
from sparbor.engine.runtime import load
from sparbor.timing import Latency

LENGTHS = (16, 64)
TOLERANCE = 0.5  # relative: an answer that is further from the model's own is another model's
CALIBRATION_TEXTS, AT_ONCE = 256, 32


def contenders() -> Iterator[tuple[str, str]]:
    """Runtimes and arms: the engine with every weight and with few, rivals with every weight."""
    for runtime in RUNTIMES:
        arms = (DENSE, *SPARSITIES) if runtime == ENGINE else (DENSE,)
        yield from ((runtime, arm) for arm in arms)


def latencies(experiment: Experiment, length: int, rounds: int) -> dict[tuple[str, str], Latency]:
    """One text of so many tokens, in turns; a rival whose answer is not the model's is refused."""
    example = text_of(experiment.training_tokens, length)
    with torch.inference_mode():
        expected = experiment.dense(*example).numpy()
    ready: dict[tuple[str, str], Any] = {}
    rivals = {peer.NAME: peer for peer in peers.find()}
    for runtime, arm in contenders():
        if runtime == ENGINE:
            ready[runtime, arm] = Loaded(load(experiment.file_of(arm)), example)
        else:
            ready[runtime, arm] = rivals[runtime].prepare(experiment.dense, example, 1)
        if arm == DENSE and (error := max_relative_error(ready[runtime, arm].output(), expected)) > TOLERANCE:
            raise SystemExit(f"{runtime}: its answer to {length} tokens is wrong by {error:.2g} of the right one")
    figures = timed({str(key): each.sample for key, each in ready.items()}, rounds, 0)
    return {key: figures[str(key)] for key in ready}


def text_of(tokens: Tokens, length: int) -> tuple[Tensor, Tensor]:
    """One text of so many tokens: of several, one after the other."""
    return padded([list(islice(cycle(chain.from_iterable(tokens)), length))])


def calibration(tokens: Tokens) -> list[tuple[Tensor, Tensor]]:
    """Training texts by which a rival is quantized, of like lengths together."""
    chosen = sorted(tokens[:CALIBRATION_TEXTS], key=len)
    return [padded(chosen[at : at + AT_ONCE]) for at in range(0, len(chosen), AT_ONCE)]


def row(experiment: Experiment, runtime: str, arm: str, folder: Path) -> Row:
    """Store, ask all test texts, and load in a fresh process."""
    chosen = RUNTIMES[runtime]
    if chosen.store is None:
        file = experiment.file_of(arm)
    else:
        file = chosen.file_in(folder, runtime)
        chosen.store(experiment.dense, calibration(experiment.training_tokens), file)
    call = chosen.imports()(file)
    score = experiment.score("test", lambda *given: torch.from_numpy(call(*(each.numpy() for each in given))))
    memory = memory_of("bench.sentences.memory", runtime, str(file), str(max(LENGTHS)))
    return {
        "task": experiment.task.name,
        "seed": experiment.seed,
        "runtime": runtime,
        "arm": arm,
        "measure": experiment.task.measure,
        "test": score,
        "memory_bytes": memory and memory.growth_bytes,
        "file_bytes": chosen.stored_bytes(file),
    }


def summary(rows: Sequence[Row]) -> Table:
    """All rows."""
    table = Table("task", "runtime", "arm", "test", *(f"{n} tokens (us)" for n in LENGTHS), "memory (MB)", "file (MB)")
    for each in rows:
        times = [f"{each[f'us_{length}']:.0f}" for length in LENGTHS]
        memory = "" if each["memory_bytes"] is None else f"{each['memory_bytes'] / 1e6:.1f}"
        size = f"{each['file_bytes'] / 1e6:.1f}"
        table.add_row(each["task"], each["runtime"], each["arm"], f"{each['test']:.3f}", *times, memory, size)
    return table


def measured(experiment: Experiment, rounds: int) -> list[Row]:
    """A row for each contender; all are of one run."""
    experiment.dense.requires_grad_(False)
    times = {length: latencies(experiment, length, rounds) for length in LENGTHS}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for runtime, arm in contenders():
            found = row(experiment, runtime, arm, Path(folder))
            rows.append({**found, **{f"us_{length}": times[length][runtime, arm].median_us for length in LENGTHS}})
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the tasks that the file lacks, and show all."""
    os.environ["OMP_NUM_THREADS"] = "1"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_sources(parser)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=("wordnet",))
    parser.add_argument("--rounds", type=int, default=15, help="turns for each contender")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = ResultsFile(options.json, {"peers": peers.versions()})
    for task in options.tasks:
        if not results.has(task=task):
            experiment = Experiment(TASKS[task], TASKS[task].seeds[0], sources_of(options), options.scratch)
            results.add(*measured(experiment, options.rounds))
    Console().print(summary(results.rows))
