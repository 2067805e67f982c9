"""A sentence encoder, a vision transformer, EfficientNet and an LSTM, sparse and dense, against the best f32 runtimes.

``python bench/whole_networks.py --json FILE``. Batch 1, one thread, 16-bit weights; the table's ratios are the rival's
time by the engine's, of the least times of turns that all contenders take in one process, after their outputs have
been compared with PyTorch's. ``--memory`` measures, in fresh processes, what loading the sparse model and a call take.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import sparbor
from bench import CHECKOUT
from bench.inference import convnets, encoders, models, recurrent
from bench.peers import Example, Local, onnx_file, onnxruntime, openvino
from bench.results_file import ResultsFile
from sparbor.timing import sample

SPARSITY = 0.9
TOLERANCE = {"sparbor": 0.25, "sparbor-dense": 0.01, "onnxruntime": 1e-4, "openvino": 1e-4}
TURN_US = 30_000


@dataclass(frozen=True)
class Whole:
    """A network and what it is called with; what the engine is to be, times as fast as the best rival."""

    build: Callable[[], nn.Module]
    example: Callable[[], Example]
    wanted: float


def image() -> Tensor:
    """Noise, as if normalised."""
    return torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def sequence() -> Tensor:
    """A hundred steps of noise."""
    return torch.randn(1, 100, 256, generator=torch.Generator().manual_seed(1))


NETWORKS = {
    "minilm-16": Whole(encoders.minilm, partial(encoders.tokens, 16), 4.5),
    "minilm-128": Whole(encoders.minilm, partial(encoders.tokens, 128), 3.5),
    "vit-tiny": Whole(encoders.vit_tiny, image, 2.5),
    "efficientnet-b0": Whole(partial(convnets.EfficientNetB0, 1000), image, 1.8),
    "lstm-256": Whole(partial(recurrent.Lstm, 256, 256), sequence, 6.0),
}


def sparse(name: str) -> nn.Module:
    """The network in dendrite mode."""
    torch.manual_seed(0)
    network = NETWORKS[name].build()
    models.make_sparse(network, SPARSITY, "varying", power=1)
    models.settle_batch_norms(network, (3, 224, 224))
    return network.eval()


def dense(name: str) -> nn.Module:
    """The network with all its weights, which the rivals and the engine run dense."""
    torch.manual_seed(0)
    network = NETWORKS[name].build()
    models.settle_batch_norms(network, (3, 224, 224))
    return network.eval().requires_grad_(False)


def measure(name: str, rounds: int) -> list[dict[str, Any]]:
    """A row for each contender."""
    example = NETWORKS[name].example()
    rows, calls = [], {}
    for runtime, contender, model in _contenders(name, example):
        with torch.inference_mode():
            expected = model(*onnx_file.inputs(example).values()).numpy()
        ready, facts = contender()
        error = float(np.linalg.norm(ready.output() - expected) / np.linalg.norm(expected))
        if not error <= TOLERANCE[runtime]:
            raise SystemExit(f"{runtime} answers {name} wrongly: relative error {error:.2g}")
        rows.append({"model": name, "runtime": runtime, "max_relative_error": error, **facts})
        calls[runtime] = ready
    for row, (least, usual) in zip(rows, _timed(calls, rounds), strict=True):
        row |= {"least_us": least, "median_us": usual}
    return rows


def _contenders(name: str, example: Example) -> list[tuple[str, Callable[[], tuple[Local, dict[str, Any]]], nn.Module]]:
    plain, kept = dense(name), sparse(name)
    return [
        ("sparbor", partial(_engine, kept, example), kept),
        ("sparbor-dense", partial(_engine, plain, example), plain),
        ("onnxruntime", lambda: (onnxruntime.prepare(plain, example, 1), {}), plain),
        ("openvino", lambda: (openvino.prepare(plain, example, 1), {}), plain),
    ]


def _engine(model: nn.Module, example: Example) -> tuple[Local, dict[str, Any]]:
    start = time.perf_counter()
    runtime = sparbor.deploy(model, example)
    facts = {
        "deploy_seconds": time.perf_counter() - start,
        "stored_bytes": runtime.program.weight_bytes,
        "operations": len(runtime.program.operations),
    }
    given = [each.numpy() for each in onnx_file.inputs(example).values()]
    return Local(lambda: runtime(*given), runtime.program.weight_bytes), facts


def _timed(calls: dict[str, Local], rounds: int) -> list[tuple[float, float]]:
    """Microseconds of each contender's fastest call and of the median one, by turns of about equal length."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    counts = {name: max(3, int(TURN_US / min(sample(ready.call, 5)))) for name, ready in calls.items()}
    for _ in range(rounds):
        for name, ready in calls.items():
            times[name] += sample(ready.call, counts[name])
    return [(min(each), float(np.median(each))) for each in times.values()]


# Runs where sparbor alone is imported: milliseconds from the file to the first answer, and bytes of resident growth.
_FIRST_ANSWER = """
import json, resource, sys, time
import numpy as np
import sparbor
with np.load(sys.argv[2]) as kept:
    given = list(kept.values())
def resident(): return int(next(l for l in open("/proc/self/status") if l.startswith(sys.argv[3])).split()[1]) * 1024
open("/proc/self/clear_refs", "w").write("5")
before, start = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize(), time.perf_counter()
answer = sparbor.load(sys.argv[1])(*given)
print(json.dumps({"start_ms": 1e3 * (time.perf_counter() - start), "peak_bytes": resident() - before}))
"""


def first_answer(name: str, processes: int = 5) -> dict[str, Any]:
    """What the sparse model takes from its file to its first answer: the least of some processes."""
    example = onnx_file.inputs(NETWORKS[name].example())
    with tempfile.TemporaryDirectory() as folder:
        file, given = Path(folder) / "model.safetensors", Path(folder) / "given.npz"
        sparbor.deploy(sparse(name), NETWORKS[name].example()).save(file)
        np.savez(given, *(tensor.numpy() for tensor in example.values()))
        command = [sys.executable, "-c", _FIRST_ANSWER, str(file), str(given), "VmHWM"]
        paths = os.pathsep.join([str(CHECKOUT), *filter(None, sys.path)])
        environment = {**os.environ, "PYTHONPATH": paths}
        found = [json.loads(subprocess.check_output(command, env=environment)) for _ in range(processes)]
        size = file.stat().st_size
    least = {key: min(each[key] for each in found) for key in found[0]}
    return {"model": name, "runtime": "sparbor first answer", "file_bytes": size, **least}


def show(console: Console, rows: list[dict[str, Any]]) -> None:
    """The table: how many times as fast as the best rival."""
    columns = ("model", "wanted", "sparse ms", "dense ms", "onnxruntime ms", "openvino ms", "times", "dense times")
    table = Table(*columns)
    for name in dict.fromkeys(row["model"] for row in rows if "least_us" in row):
        least = {row["runtime"]: row["least_us"] / 1e3 for row in rows if row["model"] == name and "least_us" in row}
        best = min(least["onnxruntime"], least["openvino"])
        table.add_row(
            *(name, f"{NETWORKS[name].wanted}", *(f"{each:.2f}" for each in least.values())),
            *(f"{best / least['sparbor']:.2f}", f"{best / least['sparbor-dense']:.2f}"),
        )
    console.print(table)
    for row in rows:
        if "start_ms" in row:
            console.print(
                f"{row['model']}: {row['file_bytes'] / 1e6:.1f} MB on disk, first answer after"
                f" {row['start_ms']:.0f} ms, {row['peak_bytes'] / 1e6:.1f} MB of growth"
            )
        elif "deploy_seconds" in row:
            console.print(f"{row['model']}, {row['runtime']}: deployed in {row['deploy_seconds']:.1f} s")


def main() -> None:
    """Measure what the file lacks, and show all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=15, help="turns for each contender")
    parser.add_argument("--memory", action="store_true", help="measure the first answer in fresh processes as well")
    parser.add_argument("--json", type=Path, help="file for the rows; an existing one is continued")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = ResultsFile(options.json)
    for name in options.models:
        if not results.has(model=name, runtime="sparbor"):
            results.add(*measure(name, options.rounds))
        if options.memory and not results.has(model=name, runtime="sparbor first answer"):
            results.add(first_answer(name))
    show(Console(width=None if sys.stdout.isatty() else 150), results.rows)
