"""What ONNX files gain by `sparbor onnx pack`: latency, loading, memory, what a node costs, and many threads.

``python bench/onnx_pack.py --json FILE``, on a quiet machine; ``--parts`` measures some of it.

``latency``: all-MiniLM-L6-v2's shape with random weights, 90 % of them dropped in quads, one text, one thread, in
turns: ONNX Runtime in f32 and with its own dynamic INT8, and the packed file. ``loading``: until a session is ready, in
turns, and the memory that a fresh process takes for it and one run, beyond its imports. ``node``: a chain of nodes of
64 x 64 weights, and the same layers in the engine; the difference is what ONNX Runtime and our operator add. ``soak``:
threads that share one session, each result compared to the last bit, and resident memory over the run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper
from rich.console import Console
from torch import nn

import sparbor
from bench.inference import models
from bench.inference.latency import max_relative_error, timed
from bench.inference.soak import MOST_GROWTH, soak
from bench.job.measure import memory_of
from bench.peers import onnx_file, onnxruntime, single, versions
from bench.peers.onnxruntime_int8 import quantize_weights
from bench.results_file import ResultsFile
from sparbor.onnx import pack
from sparbor.onnxruntime import library_path
from sparbor.timing import sample

SPARSITY = 0.9
MODELS = ("minilm-16", "minilm-128")
EXACT, INT8, PACKED = "onnxruntime", "onnxruntime-int8", "onnxruntime-packed"
CHAIN, WIDTH = 200, 64
LOADS = 7
THREADS = 8

Row = dict[str, Any]
Arrays = dict[str, np.ndarray]


def opened(file: Path, packed: bool) -> Any:
    """A session, with our operators for a packed file."""
    return onnxruntime.opened(file, 1, library_path() if packed else None)


def files_of(model: str, folder: Path) -> tuple[dict[str, Path], Arrays]:
    """The model's three files, and an input."""
    example = models.example(model, 1)
    network = models.plain(models.dendritic(model, SPARSITY, "quads"))
    given = {name: each.numpy() for name, each in onnx_file.inputs(example).items()}
    files = {name: folder / f"{model}-{name}.onnx" for name in (EXACT, INT8, PACKED)}
    onnx_file.write(network, example, files[EXACT])
    quantize_weights(files[EXACT], files[INT8])
    onnx.save(pack(files[EXACT], inputs=given).model, files[PACKED])
    return files, given


def latencies(model: str, folder: Path, rounds: int) -> list[Row]:
    """In turns; answers are compared with those in f32."""
    files, given = files_of(model, folder)
    sessions = {name: opened(file, name == PACKED) for name, file in files.items()}
    answers = {name: session.run(None, given)[0] for name, session in sessions.items()}
    samplers = {name: _sampler(session, given) for name, session in sessions.items()}
    figures = timed(samplers, rounds, 0)
    return [
        {
            "part": "latency",
            "model": model,
            "runtime": name,
            "median_us": figures[name].median_us,
            "p95_us": figures[name].p95_us,
            "times": figures[name].median_us / figures[PACKED].median_us,
            "max_relative_error": max_relative_error(answers[name], answers[EXACT]),
            "stored_bytes": files[name].stat().st_size,
        }
        for name in files
    ]


def _sampler(session: Any, given: Arrays) -> Callable[[int], list[float]]:
    return lambda calls: sample(lambda: session.run(None, given), calls)


def loading(model: str, folder: Path) -> list[Row]:
    """Until a session is ready, in turns; and the memory of it and of one run."""
    files, given = files_of(model, folder)
    np.savez(folder / "inputs.npz", allow_pickle=False, **given)
    seconds: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(LOADS):
        for name, file in files.items():
            began = time.perf_counter()
            opened(file, name == PACKED)
            seconds[name].append(time.perf_counter() - began)
    rows = []
    for name, file in files.items():
        memory = memory_of("bench.inference.onnx_memory", str(file), str(folder / "inputs.npz"))
        row = {"part": "loading", "model": model, "runtime": name, "seconds": median(seconds[name])}
        rows.append({**row, "stored_bytes": file.stat().st_size, **(asdict(memory) if memory else {})})
    return [{**row, "of_exact": row["seconds"] / rows[0]["seconds"]} for row in rows]


def nodes(folder: Path, rounds: int) -> list[Row]:
    """A chain in ONNX Runtime and in the engine: by layer, and the difference."""
    torch.manual_seed(0)
    layers = [nn.Linear(WIDTH, WIDTH) for _ in range(CHAIN)]
    for layer in layers:
        layer.weight.data[torch.rand_like(layer.weight) < SPARSITY] = 0
    chain = nn.Sequential(*layers)
    example = torch.randn(1, WIDTH)
    exact, packed = folder / "chain.onnx", folder / "chain-packed.onnx"
    onnx_file.write(chain, example, exact)
    result = pack(exact, "exact").model
    kinds = [node.op_type for node in result.graph.node]
    assert kinds == ["SparseLinear"] * CHAIN, kinds
    onnx.save(result, packed)
    one = _part(result, 1)
    onnx.save(one, folder / "one-packed.onnx")
    runtime = sparbor.deploy(chain, example, weights="exact")
    x = {"x": example.numpy()}
    samplers = {
        "chain": _sampler(opened(packed, True), x),
        "one": _sampler(opened(folder / "one-packed.onnx", True), x),
        "engine": lambda calls: sample(lambda: runtime(x["x"]), calls),
    }
    figures = {name: each.median_us for name, each in timed(samplers, rounds, 0).items()}
    by_node = (figures["chain"] - figures["one"]) / (CHAIN - 1)
    engine = figures["engine"] / CHAIN
    row = {"part": "node", "layers": CHAIN, "width": WIDTH, "node_us": by_node, "engine_us": engine}
    return [{**row, "added_us": by_node - engine}]


def _part(model: onnx.ModelProto, count: int) -> onnx.ModelProto:
    """The first nodes of a chain."""
    part = onnx.ModelProto.FromString(model.SerializeToString())
    del part.graph.node[count:]
    part.graph.output[0].CopyFrom(helper.make_tensor_value_info(part.graph.node[-1].output[0], 1, [1, WIDTH]))
    return part


class Shared:
    """A session as `soak` calls a runtime."""

    workspace_bytes = 0

    def __init__(self, file: Path, features: int, outputs: int) -> None:
        self.session, self.input_shape, self.output_shape = opened(file, True), (features,), (outputs,)

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        (answer,) = self.session.run(None, {"x": x})
        if out is not None:
            out[:] = answer
        return answer


def soaked(folder: Path, calls: int) -> list[Row]:
    """The reference job's MLP, with 8 bits, by several threads through one session."""
    network = models.plain(models.dendritic("seed-mlp", SPARSITY, "quads"))
    example = single(models.example("seed-mlp", 1))
    onnx_file.write(network, example, folder / "mlp.onnx", free={0: "batch"})
    onnx.save(pack(folder / "mlp.onnx").model, folder / "mlp-packed.onnx")
    with torch.inference_mode():
        outputs = network(example).shape[1]
    row = soak(Shared(folder / "mlp-packed.onnx", example.shape[1], outputs), calls, THREADS)
    growth = row["resident_bytes"][-1] - row["resident_bytes"][0]
    return [{"part": "soak", "threads": THREADS, **row, "growth_bytes": growth}]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the parts that the file lacks; 1 if a result differed or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=tuple(PARTS))
    parser.add_argument("--rounds", type=int, default=15, help="turns for each contender (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=1_000_000, help="of the soak (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the rows; an existing one is continued")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results, console = ResultsFile(options.json, {"peers": versions()}), Console()
    for part in options.parts:
        if not results.has(part=part):
            with tempfile.TemporaryDirectory() as folder:
                results.add(*PARTS[part](Path(folder), options))
            for row in results.rows:
                if row["part"] == part:
                    console.print(row, highlight=False)
    soaks = [row for row in results.rows if row["part"] == "soak"]
    return int(any(row["wrong"] or row["growth_bytes"] > MOST_GROWTH for row in soaks))


PARTS: dict[str, Callable[[Path, argparse.Namespace], list[Row]]] = {
    "latency": lambda folder, options: [row for model in MODELS for row in latencies(model, folder, options.rounds)],
    "loading": lambda folder, _: loading(MODELS[-1], folder),
    "node": lambda folder, options: nodes(folder, options.rounds),
    "soak": lambda folder, options: soaked(folder, options.calls),
}
