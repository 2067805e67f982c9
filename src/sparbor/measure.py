"""Latency, memory and parameter counts of a model, on any runtime: nothing here is assumed, all of it is measured."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from torch import nn

from sparbor.errors import SparborError
from sparbor.modules import PAINeuronModule


@dataclass(frozen=True)
class Latency:
    """Microseconds for one call."""

    median_us: float
    p95_us: float


def latencies(
    calls: Mapping[str, Callable[[], object]], *, rounds: int = 40, calls_a_round: int = 50
) -> dict[str, Latency]:
    """Time each of ``calls``; they take turns, so that a change of the machine's speed meets all of them."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        _time(call, calls_a_round)  # warm-up
    for _ in range(rounds):
        for name, call in calls.items():
            samples[name] += _time(call, calls_a_round)
    return {name: Latency(median(times), quantiles(times, n=20)[-1]) for name, times in samples.items()}


def _time(call: Callable[[], object], times: int) -> list[float]:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return [1e6 * second for second in seconds]


@dataclass(frozen=True)
class Memory:
    """Bytes in a fresh process: growth from after the imports to the peak, and the whole process at its peak."""

    growth_bytes: int
    process_bytes: int


def memory(runtime: str, task: str, model_file: Path) -> Memory | None:
    """Load ``model_file`` on ``runtime`` in a fresh process, run one image through it, and read the peak.

    ``None`` on systems that cannot tell the peak after a given moment (Linux can).
    """
    if not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, "-m", "sparbor.memory_probe", runtime, task, str(model_file)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        last_line = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise SparborError(f"memory could not be measured: {' '.join(command)} ended with {last_line}")
    return Memory(**json.loads(result.stdout))


def parameter_counts(model: nn.Module) -> dict[str, Any]:
    """Total and active parameters (biases included), counted from the weights and masks themselves.

    ``sparsity`` is over the weights of the dendritic layers; ``None`` where there are none.
    """
    dendritic = [module for module in model.modules() if isinstance(module, PAINeuronModule)]
    total = sum(parameter.numel() for parameter in model.parameters())
    weights = sum(module.mask.numel() for module in dendritic)
    active = sum(module.active_weights() for module in dendritic)
    return {
        "total_parameters": total,
        "active_parameters": total - (weights - active),
        "active_zeros": sum(module.active_zeros() for module in dendritic),
        "weight_bytes": sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()),
        "sparsity": 1 - active / weights if weights else None,
        "layers": [
            {
                "name": module.name,
                "shape": list(module.mask.shape),
                "weights": module.mask.numel(),
                "active_weights": module.active_weights(),
                "active_zeros": module.active_zeros(),
                "sparsity": module.get_sparsity(),
            }
            for module in dendritic
        ],
    }
