"""A smaller dense network of the same family: its hidden widths scaled by one factor, found by search."""

from bisect import bisect_left
from collections import OrderedDict
from dataclasses import replace
from functools import cache

import torch
from torch import nn

from bench.job.job import Job
from bench.job.measure import parameter_counts
from bench.job.models import TASKS
from sparbor.recipe.recipe import Recipe
from sparbor.train.perforator import perforate

STEPS = 1024  # the factor is searched in so many steps from 0 to 1
Layer = nn.Linear | nn.Conv2d


def small_dense(job: Job) -> nn.Module:
    """As many parameters as the slots arm of this job has active ones, as near as whole widths allow."""
    return scaled(job.task.build(), _factor(job.task_name, job.recipe()))


def network_widths(network: nn.Module) -> str:
    """Inputs and outputs of its weighted layers: ``784-33, 33-33, 33-10``."""
    sizes = [_sizes(layer) for layer in network.modules() if isinstance(layer, Layer)]
    return ", ".join(f"{inputs}-{outputs}" for inputs, outputs in sizes)


def scaled(network: nn.Module, factor: float) -> nn.Sequential:
    """A sequence of layers like ``network``, with all widths but its inputs' and outputs' times ``factor``."""
    if not isinstance(network, nn.Sequential):
        raise TypeError(f"a {type(network).__name__} cannot be scaled: it must be a torch.nn.Sequential")
    layers = OrderedDict(network.named_children())
    last = [name for name, layer in layers.items() if isinstance(layer, Layer)][-1]
    before, after = 1, 1  # the width of the last weighted layer, in the network and scaled
    for name, layer in layers.items():
        if not isinstance(layer, Layer):
            continue
        inputs, outputs = _sizes(layer)
        inputs = inputs // before * after  # a flattened plane has many inputs a channel
        before, after = outputs, outputs if name == last else max(1, round(factor * outputs))
        layers[name] = _like(layer, inputs, after)
    return nn.Sequential(layers)


def _sizes(layer: Layer) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels


def _like(layer: Layer, inputs: int, outputs: int) -> Layer:
    if isinstance(layer, nn.Linear):
        return nn.Linear(inputs, outputs)
    return nn.Conv2d(inputs, outputs, layer.kernel_size, layer.stride, layer.padding)  # type: ignore[arg-type]


@cache  # asked for with every row that is looked at
def _factor(task: str, recipe: Recipe) -> float:
    with torch.device("meta"):
        network = TASKS[task].build()
    wanted = _active_parameters(task, recipe)

    def parameters(step: int) -> int:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in scaled(network, step / STEPS).parameters())

    above = bisect_left(range(STEPS + 1), wanted, key=parameters)
    return min((above - 1, above), key=lambda step: abs(parameters(step) - wanted)) / STEPS


def _active_parameters(task: str, recipe: Recipe) -> int:
    """What the recipe leaves of the network in the end: counted where it was pruned in one go."""
    network = TASKS[task].build()
    at_once = replace(recipe, method="static", schedule=replace(recipe.schedule, warmup=0.0))
    perforate(network, torch.optim.SGD(network.parameters()), at_once, total_steps=1)
    return int(parameter_counts(network)["active_parameters"])
