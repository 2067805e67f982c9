"""What a model's layers cost, counted or measured: multiply-adds, stored bytes, and latency on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from time import perf_counter
from typing import cast

import numpy as np
from torch import Tensor, nn

from sparbor.calibration.layer_uses import encoding_for, uneven, uses
from sparbor.calibration.positions import positions
from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError
from sparbor.lower.deploy import evaluating, lower
from sparbor.lower.unpacked import UnpackedProgram
from sparbor.nn.layers import name_of_weight, weight_names
from sparbor.nn.named_layers import named_layers, plain_name
from sparbor.packing.quads import QUAD_BRANCH, SYNAPSES
from sparbor.packing.slots import BRANCH, NEURON_BLOCK, Encoding
from sparbor.program.program import Weights, stored_bytes
from sparbor.recipe.budget import Costs, LayerCost
from sparbor.recipe.pattern import Quads, Slots
from sparbor.recipe.recipe import Recipe

SLOT_KILOBYTES = NEURON_BLOCK * 2 / 1000  # a 16-bit word for each neuron, or a byte and its index
SHARES = (0.1, 0.3, 0.6, 1.0)  # of the slots with which a layer still runs sparse: those that are timed
IN_THE_MODEL = 1  # of these, the one at which the whole model is timed
LEAST_OF_A_SLOT = 0.1  # of what it takes on average
ROUNDS, ROUND_SECONDS = 15, 0.002


def calibrated(recipe: Recipe, model: nn.Module, example: Tensor) -> Recipe:
    """The recipe with what the layers of ``model`` cost, in the unit of its budget.

    Multiply-adds are counted in one run of the model on ``example``, bytes from its layers' shapes. Latency is
    measured on this machine in seconds: each layer on the engine, sparse at a few densities and dense, in turns; a
    line through the medians is its cost model, ``fixed + each * slots``. With the pattern ``Quads()`` it is quads that
    have a cost, those of linear layers in 8 bits; what else there is has 16 bits. Keep the recipe (``to_json()``) to
    resume a run, and give the same one to all ranks: two measurements differ.

    Args:
        recipe: one with a budget; costs that it has already are replaced.
        model: the model that will be perforated, before that; it is left as it is.
        example: one input as a float32 tensor, its first dimension the batch; costs are those of one item.

    Raises:
        ArgumentError: the recipe has no budget; the engine cannot run the model (bytes and latency).

    >>> import torch, sparbor
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16))
    >>> recipe = sparbor.Recipe(budget=sparbor.Budget(multiply_adds=500))
    >>> recipe = sparbor.calibrated(recipe, model, torch.zeros(1, 64))
    >>> [(layer.name, layer.dense) for layer in recipe.budget.costs.layers]
    [('0', 2048), ('2', 512)]
    """
    if recipe.budget is None:
        raise ArgumentError(
            "recipe has no budget: give it one to calibrate, as in Recipe(budget=Budget(latency_us=40))"
        )
    if recipe.budget.unit == "multiply_adds":
        costs = _multiply_adds(model, example)
    else:
        kinds = {"kilobytes": _kilobytes, "latency_us": _latency}
        names = {name for name, layer in _layers(model).items() if weight_names(layer) == ("weight",)}
        assert isinstance(recipe.pattern, (Slots, Quads))  # a recipe has no other with such a budget
        costs = kinds[recipe.budget.unit](lower(model, example), names, recipe.pattern)
    return dataclasses.replace(recipe, budget=dataclasses.replace(recipe.budget, costs=costs))


def _multiply_adds(model: nn.Module, example: Tensor) -> Costs:
    """An active weight costs one at each position of a sequence or a plane."""
    used: dict[str, int] = {}

    def count(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        times = positions(layer, inputs[0], output) // len(example)
        for weight in weight_names(layer):
            named = name_of_weight(name, weight)
            used[named] = used.get(named, 0) + times

    layers = _layers(model)
    hooks = [layer.register_forward_hook(lambda *args, name=name: count(name, *args)) for name, layer in layers.items()]
    try:
        with evaluating(model):
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    weights = {
        name_of_weight(name, weight): cast(Tensor, getattr(layer, weight)).numel()
        for name, layer in layers.items()
        for weight in weight_names(layer)
    }
    costs = (LayerCost(name, weights[name], 0.0, times, times * weights[name]) for name, times in used.items())
    return Costs("multiply_adds", 0.0, tuple(costs))


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """Those that can be sparse, by the path that `perforate` calls them, also where they are wrapped already.

    But for attention, whose projections have inputs of their own.
    """
    return {
        plain_name(place.plain_path): place.module
        for place in named_layers(model)
        if weight_names(place.module) and not isinstance(place.module, nn.MultiheadAttention)
    }


def _kilobytes(lowered: UnpackedProgram, names: set[str], pattern: Slots | Quads) -> Costs:
    """What `docs/format/layers.md` says is stored; of a sparse layer all branches it can have and the most runs."""
    calls = uses(lowered, names, pattern)
    ours = {use.label for use in calls}
    others = [layer for name, layer in lowered.packed(encoding_for(pattern)).layers.items() if name not in ours]
    each = SLOT_KILOBYTES * pattern.synapses
    costs = []
    for use in calls:
        weight = uneven(*use.weights.matrix.shape)
        empty = use.sparse(weight, use.mask(weight, 0.0))
        branch, most = (QUAD_BRANCH, QUAD_BRANCH // SYNAPSES) if use.encoding is Encoding.INT8 else (BRANCH, BRANCH)
        groups, branches = len(empty.layout.runs_per_group), -(-weight.shape[1] // branch)
        lists = groups * (2 * branches + 4 * min(branches, most))
        fixed, dense = (stored_bytes(empty) + lists) / 1000, stored_bytes(use.dense(weight)) / 1000
        all_slots = SLOT_KILOBYTES * groups * weight.shape[1]
        # Of its slots, with which it takes fewer bytes sparse.
        sparse_to = min(1.0, max(0.0, dense - fixed) / all_slots)
        costs.append(LayerCost(use.name, weight.size, fixed, each, dense, sparse_to))
    return Costs("kilobytes", sum(map(stored_bytes, others)) / 1000, _by_name(costs))


def _latency(lowered: UnpackedProgram, names: set[str], pattern: Slots | Quads) -> Costs:
    """Each layer alone, in turns with all others and with the whole model, whose rest is what its layers leave."""
    calls = uses(lowered, names, pattern)
    weights = [uneven(*use.weights.matrix.shape) for use in calls]
    masks = [
        [use.mask(weight, share * use.sparse_to) for share in SHARES]
        for use, weight in zip(calls, weights, strict=True)
    ]
    layers: list[list[Weights]] = [
        [*(use.sparse(weight, mask) for mask in of_use), use.dense(weight)]
        for use, weight, of_use in zip(calls, weights, masks, strict=True)
    ]
    in_the_model = {use.label: packed[IN_THE_MODEL] for use, packed in zip(calls, layers, strict=True)}
    program = lowered.packed(encoding_for(pattern))
    whole = Runtime(dataclasses.replace(program, layers={**program.layers, **in_the_model}))
    alone = [use.alone(layer) for use, packed in zip(calls, layers, strict=True) for layer in packed]
    rest, *times = _medians_us([whole, *alone])
    costs = []
    for use, of_use in zip(calls, masks, strict=True):
        *sparse_us, dense_us = times[: len(SHARES) + 1]
        del times[: len(SHARES) + 1]
        rest -= sparse_us[IN_THE_MODEL]
        fixed, each = _line([use.units(mask) for mask in of_use], sparse_us)
        costs.append(LayerCost(use.name, use.weights.matrix.numel(), fixed, each, dense_us, use.sparse_to))
    return Costs("latency_us", rest, _by_name(costs))


def _line(slots: Sequence[int], times: Sequence[float]) -> tuple[float, float]:
    """``fixed`` and ``each`` of the line that is nearest by relative error; noise must not make a slot free."""
    if not any(slots):  # a depthwise convolution, which never runs sparse
        return float(median(times)), float(median(times))
    weight = 1 / np.square(times)
    n, t = np.average(slots, weights=weight), np.average(times, weights=weight)
    spread = np.average(np.square(np.subtract(slots, n)), weights=weight)
    slope = np.average(np.subtract(slots, n) * np.subtract(times, t), weights=weight) / spread if spread else 0.0
    each = min(max(slope, LEAST_OF_A_SLOT * t / n), t / n)
    return float(t - each * n), float(each)


def _medians_us(runtimes: Sequence[Runtime]) -> list[float]:
    """Of one call of each, for one item; they take turns, so that a change of speed meets all of them."""
    calls = [_call(runtime) for runtime in runtimes]
    counts = [max(3, int(ROUND_SECONDS / min(_seconds(call, 3)))) for call in calls]
    rounds = [[_seconds(call, count) for call, count in zip(calls, counts, strict=True)] for _ in range(ROUNDS)]
    return [1e6 * median(second for turn in turns for second in turn) for turns in zip(*rounds, strict=True)]


def _call(runtime: Runtime) -> Callable[[], object]:
    """A call with noise, or with zeros where no floats are taken: those may be ids."""
    random = np.random.default_rng(0)
    given = []
    for port in runtime.inputs:
        shape = tuple(size for size in port.shape if isinstance(size, int))  # the program is for one item
        noise = random.standard_normal(shape) if port.dtype == "float32" else np.zeros(shape)
        given.append(noise.astype(port.dtype))
    return partial(runtime, *given)


def _seconds(call: Callable[[], object], times: int) -> list[float]:
    """Of each call but the first, which fetches back what others drove out of the caches."""
    call()
    seconds = []
    for _ in range(times):
        start = perf_counter()
        call()
        seconds.append(perf_counter() - start)
    return seconds


def _by_name(costs: Sequence[LayerCost]) -> tuple[LayerCost, ...]:
    """Together what a layer costs that is called more than once."""
    together: dict[str, LayerCost] = {}
    for cost in costs:
        if (first := together.get(cost.name)) is not None:
            sums = {part: getattr(first, part) + getattr(cost, part) for part in ("fixed", "each", "dense")}
            cost = dataclasses.replace(first, **sums, sparse_to=min(first.sparse_to, cost.sparse_to))
        together[cost.name] = cost
    return tuple(together.values())
