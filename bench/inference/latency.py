"""Latency of the engine and of every rival that is installed, in turns, outputs verified.

``python bench/latency.py --models seed-mlp mlp-2048x4 mlp-4096x4 vit-b-mlp --batch 1 16 64 --threads 1 2
--sparsity 0.9 --json FILE``; ``--models seed-cnn seed-cnn-erk resnet18-cifar resnet18-imagenet mobilenetv2`` for
convolutions, ``--models vit-tiny minilm-16 minilm-128`` for transformers. Run it again to continue. ``make peers``
installs the rivals.

A combination of model, batch, threads and sparsity is a contest, in a process of its own: all contenders are
prepared, their outputs are compared with PyTorch's, and those that agree take turns on the clock.
``max_relative_error`` is the largest |y - expected| / |expected| (Euclidean norms) of an item of the batch. ``masks``
is ``varying`` for slot counts as training makes them, ``quads`` for the quads of 8-bit layers as training makes them,
and ``equal`` for one number on every branch; rivals have the first that is asked for. ``isa`` is the engine's kernel
set. ``sparbor-dense`` is the engine with the same model at sparsity 0. ``multiply_adds`` are those of one input,
``active_multiply_adds`` those with weights that are not zero. What could not be measured stands under
``not_measured`` with the reason.
"""

import argparse
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn

from bench import peers
from bench.inference import engine, memory, models, report
from bench.inference.read_bandwidth import Reader
from bench.inference.work import work_of
from bench.job.measure import Sampler, take_turns
from bench.results_file import ResultsFile
from sparbor.timing import Latency

# A row's format; further keys follow.
COLUMNS = (
    *("model", "batch", "threads", "sparsity", "runtime", "kind", "precision", "isa"),
    *("median_us", "p95_us", "max_relative_error", "stored_bytes"),
)
# The largest error that is still this model, for one layer.
TOLERANCE = {"f32": 1e-5, "f16": 2**-5, "int8": 0.1}
TURN_US, MIN_CALLS, MAX_CALLS = 20_000, 3, 200  # a turn on the clock
UNTIMED = 5  # calls at the start of a turn, while the caches hold what others have left there; one if they are long
PAUSE = 0.05  # seconds between turns if there are several threads: ONNX Runtime's spin for 40 ms after a call

Row = dict[str, Any]
Entrant = tuple[Row, Callable[[], Any]]  # what names it in a row, and what prepares it


@dataclass(frozen=True)
class Contest:
    """What is measured in turns."""

    model: str
    batch: int
    threads: int
    sparsity: float
    runtimes: tuple[str, ...]
    isas: tuple[str, ...]
    precisions: tuple[str, ...]
    masks: tuple[str, ...]
    rounds: int

    @property
    def key(self) -> Row:
        """What names the contest in a row."""
        return {"model": self.model, "batch": self.batch, "threads": self.threads, "sparsity": self.sparsity}


@dataclass(frozen=True)
class Outcome:
    """A contest's rows, what is missing among them and why, and how fast memory was read meanwhile."""

    rows: list[Row]
    not_measured: list[Row]
    bandwidth: list[Row]


@dataclass(frozen=True)
class Contender:
    """A row to be, and what to time for it; ``refused`` is why there will be no figure."""

    row: Row
    ready: peers.Ready | None = None
    refused: str | None = None


def hold(contest: Contest) -> Outcome:
    """Prepare, verify, and time one contest."""
    torch.set_num_threads(contest.threads)
    contenders = [contender for masks in contest.masks for contender in enter(contest, masks)]
    if engine.DENSE_NAME in contest.runtimes:
        contenders += enter_dense(contest)
    ready = {str(number): each.ready for number, each in enumerate(contenders) if each.ready}
    readers = {f"read {size}": Reader(size) for size in _sizes_to_read(contest, ready)}
    samplers: dict[str, Sampler] = {name: each.sample for name, each in ready.items()}
    samplers |= {name: each.sample for name, each in readers.items()}
    try:
        figures = timed(samplers, contest.rounds, PAUSE if contest.threads > 1 else 0)
    finally:
        for each in ready.values():
            each.close()
    return Outcome(
        [_row(contenders[int(name)].row, figures[name]) for name in ready],
        [{**each.row, "reason": each.refused} for each in contenders if each.refused],
        [
            {**contest.key, **reading}
            for name, reader in readers.items()
            for reading in reader.result(figures[name].median_us)
        ],
    )


def enter(contest: Contest, masks: str) -> Iterator[Contender]:
    """The engine in all its forms, and the rivals; each is prepared, and verified against PyTorch's masked model."""
    network = models.dendritic(contest.model, contest.sparsity, masks)
    model = models.plain(network)
    example = models.example(contest.model, contest.batch)
    entrants = [*_engines(contest, engine.NAME, network, example)] if engine.NAME in contest.runtimes else []
    if masks == contest.masks[0]:
        entrants += _rivals(contest, model, example)
    yield from _verified(contest, {"masks": masks}, entrants, model, example)


def enter_dense(contest: Contest) -> Iterator[Contender]:
    """The engine with every weight active: what its sparse forms are to be faster than."""
    network = models.dendritic(contest.model, 0.0, "varying")
    example = models.example(contest.model, contest.batch)
    entrants = _engines(contest, engine.DENSE_NAME, network, example)
    yield from _verified(contest, {"masks": "none"}, entrants, models.plain(network), example)


def _verified(
    contest: Contest, facts: Row, entrants: Iterable[Entrant], model: nn.Module, example: peers.Example
) -> Iterator[Contender]:
    with torch.inference_mode():
        expected = model(*peers.arguments(example)).numpy()
    work = work_of(model, example)
    facts = {
        **facts,
        "active_weights": work.active_weights,
        "multiply_adds": work.multiply_adds,
        "active_multiply_adds": work.active_multiply_adds,
    }
    for identity, prepare in entrants:
        row = {**contest.key, **identity, **facts}
        try:
            ready = prepare()
            error = max_relative_error(ready.output(), expected)
        except Exception as failure:  # whatever goes wrong with a rival: it is listed, and the contest goes on
            reason = (str(failure).strip().splitlines() or [type(failure).__name__])[0]
            yield Contender(row, refused=reason)
            continue
        row |= {"max_relative_error": error, "stored_bytes": ready.stored_bytes, **getattr(ready, "facts", {})}
        allowed = tolerance(row["precision"], work.layers)
        if error <= allowed:
            yield Contender(row, ready)
        else:
            ready.close()
            yield Contender(row, refused=f"its output is wrong: relative error {error:.2g}, allowed {allowed:.2g}")


def _engines(contest: Contest, name: str, network: nn.Module, example: peers.Example) -> Iterator[Entrant]:
    for isa, precision in product(contest.isas, contest.precisions):
        row = {"runtime": name, "kind": engine.KIND, "precision": precision, "isa": isa}
        yield row, partial(engine.Engine, network, example, contest.threads, isa, precision)


def _rivals(contest: Contest, model: nn.Module, example: peers.Example) -> Iterator[Entrant]:
    for peer in peers.find():
        if peer.NAME in contest.runtimes:
            row = {"runtime": peer.NAME, "kind": peer.KIND, "precision": peer.PRECISION, "isa": None}
            yield row, partial(_prepare_if_available, peer, model, example, contest.threads)


def _prepare_if_available(peer: peers.Peer, model: nn.Module, example: peers.Example, threads: int) -> peers.Ready:
    reason = peer.available()
    if reason:
        raise RuntimeError(reason)
    return peer.prepare(model, example, threads)


def max_relative_error(output: peers.Array, expected: peers.Array) -> float:
    """The largest relative error of an item of the batch; infinite if there is no such output at all."""
    if output.shape != expected.shape or not np.isfinite(output).all():
        return float("inf")
    difference = np.linalg.norm(output.astype(np.float64) - expected, axis=1)
    return float((difference / np.linalg.norm(expected.astype(np.float64), axis=1)).max())


def tolerance(precision: str, layers: int) -> float:
    """How far an output may be from PyTorch's; what each layer rounds adds up as independent errors do."""
    return TOLERANCE[precision] * math.sqrt(layers)


def timed(samplers: dict[str, Sampler], rounds: int, pause: float) -> dict[str, Latency]:
    """Warm up, give each contender as many calls as fit a turn, and take turns."""
    calls = {}
    turns = {}
    for name, sampler in samplers.items():
        usual = median(sampler(UNTIMED + MIN_CALLS)[UNTIMED:])
        calls[name] = int(min(MAX_CALLS, max(MIN_CALLS, TURN_US / usual)))
        turns[name] = partial(_turn, sampler, UNTIMED if calls[name] > MIN_CALLS else 1)
        sampler(calls[name])
    return take_turns(turns, rounds=rounds, calls=calls, pause=pause)


def _turn(sampler: Sampler, untimed: int, times: int) -> list[float]:
    return sampler(untimed + times)[untimed:]


def _sizes_to_read(contest: Contest, ready: dict[str, peers.Ready]) -> set[int]:
    """The packed sizes of the engine's models; what one thread can read is the limit of one thread."""
    engines = [each for each in ready.values() if isinstance(each, engine.Engine)]
    return {each.packed_bytes for each in engines} if contest.threads == 1 else set()


def _row(row: Row, latency: Latency) -> Row:
    """In the order of the documented format."""
    row = {**row, "median_us": latency.median_us, "p95_us": latency.p95_us}
    return {**{name: row[name] for name in COLUMNS}, **row}


def in_own_process(contest: Contest) -> Outcome:
    """Hold a contest where thread counts are set before any library is loaded."""
    threads = str(contest.threads)
    os.environ |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(hold, contest).result()


def contests(options: argparse.Namespace) -> Iterator[Contest]:
    """All combinations of the options."""
    names = [peer.NAME for peer in peers.find()]
    for model, sparsity, batch, threads in product(options.models, options.sparsity, options.batch, options.threads):
        yield Contest(
            model=model,
            batch=batch,
            threads=threads,
            sparsity=sparsity,
            runtimes=tuple(options.runtimes or [engine.NAME, engine.DENSE_NAME, *names]),
            isas=tuple(options.isa or engine.kernel_sets()),
            precisions=tuple(options.precision),
            masks=tuple(options.masks),
            rounds=options.rounds,
        )


def is_done(contest: Contest, results: ResultsFile) -> bool:
    """Whether each contender has a row, or a reason for having none."""
    names = ("runtime", "precision", "isa", "masks")
    there = [*results.rows, *results.notes.get("not_measured", [])]
    done = {tuple(row[name] for name in names) for row in there if contest.key.items() <= row.items()}
    wanted: set[tuple[str | None, ...]] = {
        (peer.NAME, peer.PRECISION, None, contest.masks[0]) for peer in peers.find() if peer.NAME in contest.runtimes
    }
    if engine.NAME in contest.runtimes:
        wanted |= set(product([engine.NAME], contest.precisions, contest.isas, contest.masks))
    if engine.DENSE_NAME in contest.runtimes:
        wanted |= set(product([engine.DENSE_NAME], contest.precisions, contest.isas, ["none"]))
    return wanted <= done


def keep(contest: Contest, outcome: Outcome, results: ResultsFile) -> None:
    """A contest that is held again replaces what it had: its figures are all from one run."""
    results.forget(contest.key)
    results.note("not_measured", *outcome.not_measured)
    results.note("read_bandwidth", *outcome.bandwidth)
    results.add(*outcome.rows)


def add_memory(options: argparse.Namespace, results: ResultsFile) -> None:
    """Measure the memory of the models that the file has none of."""
    for model, sparsity in product(options.models, options.sparsity):
        key = {"model": model, "sparsity": sparsity}
        if not any(key.items() <= entry.items() for entry in results.notes.get("memory", [])):
            results.note("memory", *memory.measure(model, sparsity))
    results.add()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=models.MODELS, default=["seed-mlp"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.9])
    parser.add_argument("--masks", nargs="+", choices=models.MASKS, default=models.MASKS)
    runtimes = [engine.NAME, engine.DENSE_NAME, *(peer.NAME for peer in peers.find())]
    parser.add_argument("--runtimes", nargs="+", choices=runtimes)
    parser.add_argument("--isa", nargs="+", help="kernel sets of the engine; by default all that this machine has")
    parser.add_argument("--precision", nargs="+", choices=engine.PRECISIONS, default=engine.PRECISIONS)
    parser.add_argument("--rounds", type=int, default=15, help="turns for each contender")
    parser.add_argument("--memory", action="store_true", help="measure the memory of each model as well")
    parser.add_argument("--json", type=Path, help="file for the rows; an existing one is continued")
    return parser.parse_args()


def main() -> None:
    """Hold the contests that the file lacks and show the summary of all."""
    options = parse()
    console = Console(width=None if sys.stdout.isatty() else 150)
    results = ResultsFile(options.json, {"peers": peers.versions()})
    for contest in contests(options):
        if is_done(contest, results):
            continue
        console.print(", ".join(f"{name} {value}" for name, value in contest.key.items()))
        try:
            keep(contest, in_own_process(contest), results)
        except BrokenProcessPool:
            raise SystemExit("the process that measured has died: leave the culprit out with --runtimes") from None
    if options.memory:
        add_memory(options, results)
    report.show(console, results)
