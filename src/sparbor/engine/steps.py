"""A program's operations as the engine's steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

from sparbor import native
from sparbor.packing.filters import Filters, real_rows
from sparbor.packing.slots import SparseLayer, aligned_copy
from sparbor.program.program import Activation, Affine, Normalisation, Operation, Program
from sparbor.program.windows import AverageWindow, Window, geometry, planes_of

Triple = tuple[str, float, float]


def add_step(model: native.Model, program: Program, operation: Operation) -> None:
    """Append what the operation does to the model."""
    _STEPS[operation.kind](model, program, operation)


def _linear(model: native.Model, program: Program, operation: Operation) -> None:
    layer = program.layers[str(operation.layer)]
    x, y, end = operation.inputs[0], operation.output, _end(operation.activation)
    if isinstance(layer, SparseLayer):
        model.sparse_linear(x, y, **_sparse_arrays(layer), padded=layer.padded, **end)
    else:
        model.dense_linear(x, y, **_arrays(layer, "panels", "halves", "scale", "bias"), **end)


def _convolution(model: native.Model, program: Program, operation: Operation) -> None:
    layer, window = program.layers[str(operation.layer)], operation.settings
    assert isinstance(window, Window)
    x, y, end = operation.inputs[0], operation.output, _end(operation.activation)
    planes = _geometry(program, operation, window)
    if isinstance(layer, SparseLayer):
        real = real_rows(program.shapes[operation.output][0], window.groups)
        model.sparse_conv(x, y, planes, **_sparse_arrays(layer), padded=layer.padded_among(real), **end)
    else:
        assert isinstance(layer, Filters)
        model.dense_conv(x, y, planes, **_arrays(layer, "weights", "halves", "scale", "bias"), **end)


def _pool(model: native.Model, program: Program, operation: Operation) -> None:
    window = operation.settings
    assert isinstance(window, Window)
    kind, include_padding, divisor = "max", True, 0
    if isinstance(window, AverageWindow):
        kind, include_padding, divisor = "average", window.include_padding, window.divisor
    planes = _geometry(program, operation, window)
    model.pool(operation.inputs[0], operation.output, planes, kind, include_padding, divisor)


def _adaptive_pool(model: native.Model, program: Program, operation: Operation) -> None:
    kind = "max" if operation.kind == "adaptive_max_pool" else "average"
    window = Window((1, 1), groups=program.shapes[operation.output][0])
    model.adaptive_pool(operation.inputs[0], operation.output, _geometry(program, operation, window), kind)


def _affine(model: native.Model, program: Program, operation: Operation) -> None:
    layer = program.layers[str(operation.layer)]
    assert isinstance(layer, Affine)
    step = model.scale_shift if operation.kind == "affine" else model.channel_scale_shift
    step(operation.inputs[0], operation.output, aligned(layer.scale), aligned(layer.shift))


def _layer_norm(model: native.Model, program: Program, operation: Operation) -> None:
    assert isinstance(operation.settings, Normalisation)
    scale = shift = None
    if operation.layer is not None:
        layer = program.layers[operation.layer]
        assert isinstance(layer, Affine)
        scale, shift = aligned(layer.scale), aligned(layer.shift)
    model.layer_norm(operation.inputs[0], operation.output, scale, shift, operation.settings.epsilon)


def _activation(model: native.Model, _: Program, operation: Operation) -> None:
    assert operation.activation is not None
    model.apply(operation.inputs[0], operation.output, _native(operation.activation))


def _add(model: native.Model, _: Program, operation: Operation) -> None:
    left, right = operation.inputs
    model.add(left, right, operation.output, **_end(operation.activation))


def _concat(model: native.Model, _: Program, operation: Operation) -> None:
    model.concat(list(operation.inputs), operation.output)


def _plain(model: native.Model, _: Program, operation: Operation) -> None:
    getattr(model, operation.kind)(operation.inputs[0], operation.output)


_STEPS: Mapping[str, Callable[[native.Model, Program, Operation], None]] = {
    "linear": _linear,
    "convolution": _convolution,
    "affine": _affine,
    "channel_affine": _affine,
    "layer_norm": _layer_norm,
    "activation": _activation,
    "softmax": _plain,
    "reshape": _plain,
    "add": _add,
    "concat": _concat,
    "max_pool": _pool,
    "average_pool": _pool,
    "adaptive_max_pool": _adaptive_pool,
    "adaptive_average_pool": _adaptive_pool,
}


def _end(activation: Activation | None) -> dict[str, Any]:
    """A ReLU is part of how a sum is stored; other activations run over what has been stored."""
    relu = activation == Activation("relu")
    return {"relu": relu, "activation": None if relu or activation is None else _native(activation)}


def _native(activation: Activation) -> Triple:
    if activation.name == "relu":
        return "clamp", 0.0, math.inf
    a, b = (*activation.parameters, 0.0, 0.0)[:2]
    return activation.name, a, b


def _geometry(program: Program, operation: Operation, window: Window) -> list[int]:
    x, y = (planes_of(program.shapes[value]) for value in (operation.inputs[0], operation.output))
    return geometry(window, x, y)


def _sparse_arrays(layer: SparseLayer) -> dict[str, Any]:
    topology = ("runs_per_group", "run_slots", "run_branches", "branches")
    return _arrays(layer, *topology, "words", "weights", "indices", "scale", "bias")


def _arrays(layer: Any, *parts: str) -> dict[str, Any]:
    """These of the layer's arrays, None for those that it has not."""
    stored = {part: aligned(array) for part, array in layer.arrays().items()}
    return {part: stored.get(part) for part in parts}


def aligned(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array, or a copy that starts on a cache line."""
    if array.ctypes.data % 64 == 0 and array.flags.c_contiguous:
        return array
    return aligned_copy(array)
