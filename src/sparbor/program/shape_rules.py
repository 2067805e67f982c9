"""Which shapes each kind of operation takes, and to which."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from sparbor.packing.dense_weights import DenseLayer
from sparbor.packing.filters import Filters, check_convolution
from sparbor.packing.slots import SparseLayer
from sparbor.program.program import Affine, Operation, Weights
from sparbor.program.windows import Shape, Window, convolution_fault, has_planes, planes_of, pool_fault

Check = Callable[[Operation, Sequence[Shape], Shape, "Weights | None"], "str | None"]


def shapes_fault(operation: Operation, shapes: Sequence[Shape], layers: Mapping[str, Weights]) -> str | None:
    """Why the operation cannot run, if so: its shapes, settings and weights contradict each other."""
    inputs = [shapes[value] for value in operation.inputs]
    output = shapes[operation.output]
    layer = layers[operation.layer] if operation.layer is not None else None
    fault = _CHECKS[operation.kind](operation, inputs, output, layer)
    if fault is None:
        return None
    taken = ", ".join(map(str, inputs))
    return f"operation {operation.kind!r} cannot take shape {taken} to {output}" + (f": {fault}" if fault else "")


def _unless(good: bool) -> str | None:
    return None if good else ""


def _same(_: Operation, inputs: Sequence[Shape], y: Shape, __: Weights | None) -> str | None:
    return _unless(all(x == y for x in inputs))


def _linear(_: Operation, inputs: Sequence[Shape], y: Shape, layer: Weights | None) -> str | None:
    (x,) = inputs
    if not isinstance(layer, (SparseLayer, DenseLayer)):
        return "its layer is not a linear one"
    return _unless(len(x) in (1, 2) and x[-1] == layer.fan_in and y == (*x[:-1], layer.outputs))


def _softmax(_: Operation, inputs: Sequence[Shape], y: Shape, __: Weights | None) -> str | None:
    return _unless(inputs[0] == y and len(y) in (1, 2))


def _convolution(operation: Operation, inputs: Sequence[Shape], y: Shape, layer: Weights | None) -> str | None:
    (x,), window = inputs, operation.settings
    assert isinstance(window, Window)
    if fault := convolution_fault(window, x, y):
        return fault
    outputs, fan_in = y[0], x[0] // window.groups * math.prod(window.kernel)
    if not isinstance(layer, (SparseLayer, Filters)):
        return "its layer is not a convolution's"
    if layer.fan_in != fan_in:
        return f"its layer has fan-in {layer.fan_in}, not {fan_in}"
    if isinstance(layer, SparseLayer):
        check_convolution(str(operation.layer), layer, window.groups, outputs)
        return None
    return _unless(layer.outputs == outputs)


def _affine(_: Operation, inputs: Sequence[Shape], y: Shape, layer: Weights | None) -> str | None:
    (x,) = inputs
    return _unless(isinstance(layer, Affine) and x == y and len(x) in (1, 2) and x[-1] == len(layer.scale))


def _channel_affine(_: Operation, inputs: Sequence[Shape], y: Shape, layer: Weights | None) -> str | None:
    (x,) = inputs
    return _unless(isinstance(layer, Affine) and x == y and len(x) > 1 and x[0] == len(layer.scale))


def _layer_norm(_: Operation, inputs: Sequence[Shape], y: Shape, layer: Weights | None) -> str | None:
    (x,) = inputs
    good = layer is None or (isinstance(layer, Affine) and len(layer.scale) == x[-1])
    return _unless(x == y and len(x) in (1, 2) and good)


def _reshape(_: Operation, inputs: Sequence[Shape], y: Shape, __: Weights | None) -> str | None:
    return _unless(math.prod(inputs[0]) == math.prod(y))


def _concat(_: Operation, inputs: Sequence[Shape], y: Shape, __: Weights | None) -> str | None:
    fit = all(len(x) == len(y) and x[1:] == y[1:] for x in inputs)
    return _unless(fit and len(y) > 0 and sum(x[0] for x in inputs) == y[0])


def _pool(operation: Operation, inputs: Sequence[Shape], y: Shape, _: Weights | None) -> str | None:
    assert isinstance(operation.settings, Window)
    return pool_fault(operation.settings, inputs[0], y)


def _adaptive_pool(_: Operation, inputs: Sequence[Shape], y: Shape, __: Weights | None) -> str | None:
    (x,) = inputs
    good = has_planes(x) and len(x) == len(y) and planes_of(x).channels == planes_of(y).channels
    return _unless(good)


_CHECKS: Mapping[str, Check] = {
    "linear": _linear,
    "convolution": _convolution,
    "affine": _affine,
    "channel_affine": _channel_affine,
    "layer_norm": _layer_norm,
    "activation": _same,
    "softmax": _softmax,
    "reshape": _reshape,
    "add": _same,
    "concat": _concat,
    "max_pool": _pool,
    "average_pool": _pool,
    "adaptive_max_pool": _adaptive_pool,
    "adaptive_average_pool": _adaptive_pool,
}
