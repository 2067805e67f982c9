"""``sparbor time``: a deployed model's latency, by itself or beside ONNX Runtime's."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparbor.cli.parser import add_command, add_json, add_model
from sparbor.cli.saying import say
from sparbor.errors import ArgumentError, PackageMissingError
from sparbor.extras import brought_by
from sparbor.timing import Latency, sample, summarize

if TYPE_CHECKING:
    import numpy as np

    from sparbor.engine.runtime import Runtime

WARMUP_CALLS, ROUNDS, CALLS = 100, 10, 100
Call = Callable[[], object]


def add(commands: Any) -> None:
    """The command."""
    command = add_command(commands, "time", time_model, "Measure a deployed model's latency on this machine.")
    add_model(command)
    command.add_argument("--batch", type=int, default=1, help="items in one call (default: 1)")
    command.add_argument("--threads", type=int, default=1, help="(default: 1)")
    command.add_argument(
        "--rival", action="store_true", help="in turns with ONNX Runtime, which runs the same model with zeros in it"
    )
    add_json(command)


def time_model(options: argparse.Namespace) -> None:
    """Median and 95th percentile of many calls on random input; sizes other than the batch are 1."""
    from sparbor.engine.runtime import load

    if options.batch < 1:
        raise ArgumentError(f"batch={options.batch}: must be at least 1, the items in one call")
    runtime = load(Path(options.file), threads=options.threads)
    given = _random_inputs(runtime, options.batch)
    calls = {"sparbor": _call(runtime, given)}
    if options.rival:
        calls["onnxruntime"] = _rival(runtime, given, options.threads)
    latencies = _in_turns(calls)
    about = {"calls": ROUNDS * CALLS, "batch": options.batch, "threads": options.threads, "kernel_set": runtime.isa}
    if options.json:
        say(json.dumps({**about, **{name: vars(each) for name, each in latencies.items()}}, indent=1))
        return
    say(
        f"{_in_words(latencies['sparbor'])} ({ROUNDS * CALLS} calls, batch {options.batch}, threads {options.threads},"
        f" {runtime.isa} kernels)"
    )
    if options.rival:
        rival = latencies["onnxruntime"]
        times = rival.median_us / latencies["sparbor"].median_us
        say(f"ONNX Runtime {_in_words(rival)}: {times:.1f} times as long")


def _random_inputs(runtime: Runtime, batch: int) -> list[np.ndarray[Any, Any]]:
    import numpy as np

    random, sizes = np.random.default_rng(0), {"batch": batch}
    shapes = [[sizes.get(each, 1) if isinstance(each, str) else each for each in port.shape] for port in runtime.inputs]
    try:
        return [
            random.standard_normal(shape).astype(port.dtype) for shape, port in zip(shapes, runtime.inputs, strict=True)
        ]
    except (MemoryError, ValueError) as error:  # a ValueError is a number that no array's size can be
        raise ArgumentError(f"batch={batch}: too many for this machine's memory; pass fewer items") from error


def _call(runtime: Runtime, given: Sequence[np.ndarray[Any, Any]]) -> Call:
    answer = runtime(*given)
    into = {} if isinstance(answer, dict) else {"out": answer}
    return lambda: runtime(*given, **into)


def _rival(runtime: Runtime, given: Sequence[np.ndarray[Any, Any]], threads: int) -> Call:
    """The model as a standard ONNX file, in ONNX Runtime."""
    with brought_by("onnx", "--rival"):
        from sparbor.export.onnx.target import to_onnx
        from sparbor.onnx.comparing import session_of
    try:
        session = session_of(to_onnx(runtime.program), threads=threads)
    except ModuleNotFoundError:
        raise PackageMissingError(
            "--rival needs onnxruntime, which is not installed: run `pip install onnxruntime`", name="onnxruntime"
        ) from None
    named = {port.name: each for port, each in zip(session.get_inputs(), given, strict=True)}
    return lambda: session.run(None, named)


def _in_turns(calls: dict[str, Call]) -> dict[str, Latency]:
    """So that both have the same share of what else the machine does."""
    for call in calls.values():
        sample(call, WARMUP_CALLS)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            samples[name] += sample(call, CALLS)
    return {name: summarize(each) for name, each in samples.items()}


def _in_words(latency: Latency) -> str:
    return f"median {latency.median_us:.2f} µs, 95th percentile {latency.p95_us:.2f} µs"
