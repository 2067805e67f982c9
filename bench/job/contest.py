"""Both models on every runtime: latency in turns, memory in fresh processes, and the bytes stored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from bench.job import measure
from bench.job.runtimes import CONTESTANTS, ENGINES, OPTIONAL
from sparbor.engine.runtime import Runtime, load
from sparbor.errors import OutputError


@dataclass
class Results:
    """``figures`` by model, then by runtime; ``not_measured`` says of a runtime why it has none.

    ``deployed`` holds each model as it was stored for the engine, by how its weights were stored.
    """

    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)
    deployed: dict[str, dict[str, Runtime]] = field(default_factory=dict)


def hold(task: str, models: Mapping[str, nn.Module], image: Tensor, calibration: Tensor) -> Results:
    """Run one image on one thread, with every model on every runtime that can be had here.

    ``calibration`` are images of the training set: they tell how large the numbers within a model become.
    """
    results = Results({name: {} for name in models})
    threads = torch.get_num_threads()
    with TemporaryDirectory(prefix="sparbor-") as directory:
        calls: dict[str, Callable[[], object]] = {}
        for runtime in CONTESTANTS:
            try:
                calls |= _prepare(runtime, task, models, image, calibration, Path(directory))
            except Exception as error:
                if runtime not in OPTIONAL:
                    raise
                results.not_measured[runtime] = str(error).splitlines()[0] if str(error) else type(error).__name__
        latency = measure.latencies(calls)
        torch.set_num_threads(threads)
        for entry in calls:
            model, runtime = entry.split()
            file = _file(Path(directory), model, runtime)
            memory = measure.memory(runtime, task, file, image.shape)
            results.figures[model][runtime] = {
                "latency_us_median": latency[entry].median_us,
                "latency_us_p95": latency[entry].p95_us,
                "threads": 1,
                "batch": len(image),
                "memory_growth_bytes": memory and memory.growth_bytes,
                "memory_code_bytes": memory and memory.code_bytes,
                "process_peak_bytes": memory and memory.process_bytes,
                "stored_bytes": file.stat().st_size,
            }
        results.deployed = {
            model: {weights: load(_file(Path(directory), model, runtime)) for weights, runtime in ENGINES.items()}
            for model in models
        }
    return results


def _prepare(
    runtime: str, task: str, models: Mapping[str, nn.Module], image: Tensor, calibration: Tensor, directory: Path
) -> dict[str, Callable[[], object]]:
    """Store every model for ``runtime`` and load it; the calls by ``model runtime``."""
    contestant = CONTESTANTS[runtime]
    if contestant.missing:
        raise ModuleNotFoundError(f"not installed, run `pip install {' '.join(contestant.missing)}`")
    calls = {}
    for name, model in models.items():
        file = _file(directory, name, runtime)
        try:
            contestant.store(model, task, calibration, file)
        except OSError as error:
            raise OutputError(
                f"{str(file)!r}: could not be written ({error.strerror}); make room, or set TMPDIR to another directory"
            ) from error
        calls[f"{name} {runtime}"] = contestant.imports()(file, task, image.numpy())
    return calls


def _file(directory: Path, model: str, runtime: str) -> Path:
    return directory / f"{model}.{runtime}"
