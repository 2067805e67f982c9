"""Latency, memory and parameter counts of a model, on any runtime: nothing here is assumed, all of it is measured."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from bench import CHECKOUT
from bench.children import run_child
from sparbor.errors import SparborError
from sparbor.nn.dendrites import dendritic_layers, parts_of_dendrites, ungrown_parameters
from sparbor.timing import Latency, sample, summarize

Sampler = Callable[[int], list[float]]


def take_turns(
    samplers: Mapping[str, Sampler], *, rounds: int, calls: Mapping[str, int], untimed: int = 0, pause: float = 0
) -> dict[str, Latency]:
    """Median and 95th percentile of each sampler; they take turns, so that a change of speed meets all of them.

    A turn is ``calls[name]`` calls, after ``untimed`` ones that fetch back what the others drove out of the caches, and
    after ``pause`` seconds, in which the threads of the one before fall asleep: some spin until then.
    """
    samples: dict[str, list[float]] = {name: [] for name in samplers}
    for _ in range(rounds):
        for name, sampler in samplers.items():
            if pause:
                time.sleep(pause)
            samples[name] += sampler(untimed + calls[name])[untimed:]
    return {name: summarize(times) for name, times in samples.items()}


def latencies(
    calls: Mapping[str, Callable[[], object]], *, rounds: int = 40, calls_a_round: int = 50
) -> dict[str, Latency]:
    """Time each of ``calls``; they take turns, so that a change of the machine's speed meets all of them."""
    for call in calls.values():
        sample(call, calls_a_round)  # warm-up
    samplers = {name: partial(sample, call) for name, call in calls.items()}
    return take_turns(samplers, rounds=rounds, calls=dict.fromkeys(calls, calls_a_round))


@dataclass(frozen=True)
class Memory:
    """Bytes in a fresh process: growth from after the imports to the peak, and the whole process at its peak.

    ``code_bytes`` of the growth are pages of libraries that were needed for the first time: a process has them once,
    for all of its models, and shares them with other processes.
    """

    growth_bytes: int
    code_bytes: int
    process_bytes: int


def memory(runtime: str, task: str, model_file: Path, image_shape: Sequence[int]) -> Memory | None:
    """Load ``model_file`` on ``runtime`` in a fresh process, run one image through it, and read the peak.

    ``None`` on systems that cannot tell the peak after a given moment (Linux can).
    """
    shape = "x".join(map(str, image_shape))
    return memory_of("bench.job.memory_probe", runtime, task, str(model_file), shape)


def memory_of(module: str, *arguments: str) -> Memory | None:
    """What ``python -m module`` has measured: a fresh process that prints the answer of ``memory_probe.probe``."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, "-m", module, *arguments]
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]  # whatever folder this process runs in
    result = run_child(command, environment={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    if result.returncode != 0:
        last_line = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise SparborError(f"memory could not be measured: {' '.join(command)} ended with {last_line}")
    return Memory(**json.loads(result.stdout))


def parameter_counts(model: nn.Module) -> dict[str, Any]:
    """Total and active parameters (biases included), counted from the weights and masks themselves.

    ``sparsity`` is over the weights of the dendritic layers; ``None`` where there are none. Dendrites that have grown
    are layers of their own; their synapses count as active weights of the layers that they grew on. What has not
    grown counts nowhere.
    """
    ungrown = ungrown_parameters(model)
    parameters = [parameter for parameter in model.parameters() if id(parameter) not in ungrown]
    dendritic = dendritic_layers(model)
    grown = parts_of_dendrites(model)
    sizes = {id(module.parameter): module.mask.numel() for module in dendritic}  # else than where stored compactly
    counts = [sizes.get(id(parameter), parameter.numel()) for parameter in parameters]
    total = sum(counts)
    weights = sum(module.mask.numel() for module in dendritic)
    weights_grown_on = sum(module.mask.numel() for module in dendritic if id(module) not in grown)
    active = sum(module.active_weights() for module in dendritic)
    return {
        "total_parameters": total,
        "active_parameters": total - (weights - active),
        "active_zeros": sum(module.active_zeros() for module in dendritic),
        "weight_bytes": sum(n * parameter.element_size() for n, parameter in zip(counts, parameters, strict=True)),
        "sparsity": 1 - active / weights_grown_on if weights else None,
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
