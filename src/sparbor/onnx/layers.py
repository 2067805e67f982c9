"""Layers of an ONNX graph that could be packed: products with constant matrices, and convolutions.

Each is found with what belongs to it: the bias that is added and the activation that follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from sparbor.export.onnx.own_nodes import CONVOLUTION, LINEAR
from sparbor.onnx.curves import activation_behind
from sparbor.onnx.scopes import Array, Scope
from sparbor.packing.slots import Floats
from sparbor.program.program import Activation
from sparbor.program.windows import Pair, Window


class LeftError(Exception):
    """Why a layer is left as it is."""


@dataclass(frozen=True)
class Found:
    """A layer: y = activation(matrix · x + bias), the ``matrix`` (outputs, fan_in) of single precision.

    ``nodes`` compute it, of which the first gives it its name; they are replaced. ``half`` says that x and y are of
    half precision.
    """

    operator: str
    nodes: tuple[NodeProto, ...]
    x: str
    y: str
    matrix: Floats
    bias: Floats | None = None
    window: Window | None = None
    dimensions: int = 1  # of a convolution's window
    activation: Activation | None = None
    half: bool = False

    @property
    def name(self) -> str:
        """The node's, or where it has none its output's."""
        return name_of(self.nodes[0])

    @property
    def sparsity(self) -> float:
        """The share of weights that are zero."""
        return 1 - int(np.count_nonzero(self.matrix)) / max(1, self.matrix.size)


def name_of(node: NodeProto) -> str:
    """A node's name, or where it has none its output's."""
    return node.name or node.output[0]


def layers_in(scope: Scope) -> Iterator[tuple[NodeProto, Found | LeftError]]:
    """The nodes of a graph that multiply with weights, each as a layer, or why it is none."""
    for node in scope.graph.node:
        if (
            not node.domain
            and node.op_type in _FINDERS
            and any(scope.constant(each) is not None for each in node.input)
        ):
            try:
                yield node, _with_what_follows(scope, _FINDERS[node.op_type](scope, node))
            except LeftError as reason:
                yield node, reason


def _product(scope: Scope, node: NodeProto) -> Found:
    weight, half = _weight(scope, node)
    if weight.ndim != 2:
        raise LeftError(f"its weights have {weight.ndim} dimensions")
    return Found(LINEAR, (node,), node.input[0], node.output[0], _rows(weight.T), half=half)


def _gemm(scope: Scope, node: NodeProto) -> Found:
    weight, half = _weight(scope, node)
    settings = _settings(node)
    if settings.get("transA", 0):
        raise LeftError("its input is transposed")
    matrix = (weight if settings.get("transB", 0) else weight.T) * np.float32(settings.get("alpha", 1.0))
    bias = None
    if len(node.input) > 2 and node.input[2]:
        bias = _bias(scope, node.input[2], len(matrix))
        if bias is None:
            raise LeftError("what it adds is no constant, or not one number for each output")
        bias = bias * np.float32(settings.get("beta", 1.0))
    return Found(LINEAR, (node,), node.input[0], node.output[0], _rows(matrix), bias, half=half)


def _convolution(scope: Scope, node: NodeProto) -> Found:
    weight, half = _weight(scope, node)
    dimensions = weight.ndim - 2
    if dimensions not in (1, 2):
        raise LeftError(f"it convolves over {dimensions} dimensions")
    window = _window(node, weight.shape[2:], dimensions)
    bias = None
    if len(node.input) > 2 and node.input[2]:
        bias = _bias(scope, node.input[2], len(weight))
        if bias is None:
            raise LeftError("its bias is no constant")
    matrix = _rows(weight.reshape(len(weight), -1))
    return Found(CONVOLUTION, (node,), node.input[0], node.output[0], matrix, bias, window, dimensions, half=half)


_FINDERS = {"MatMul": _product, "Gemm": _gemm, "Conv": _convolution}


def _weight(scope: Scope, node: NodeProto) -> tuple[Floats, bool]:
    """The weights, in single precision, and whether they were halves."""
    array = scope.constant(node.input[1])
    if array is None:
        if scope.constant(node.input[0]) is not None:
            raise LeftError("its weights stand on the left")
        raise LeftError("its weights are computed")
    if array.dtype not in (np.float32, np.float16):
        raise LeftError(f"its weights are {array.dtype}")
    return array.astype(np.float32), array.dtype == np.float16


def _rows(matrix: Array) -> Floats:
    return np.ascontiguousarray(matrix, np.float32)


def _bias(scope: Scope, name: str, outputs: int) -> Floats | None:
    """A constant that is one number for each output, or one for all."""
    array = scope.constant(name)
    if array is None or array.size not in (1, outputs) or (array.ndim and array.shape[-1] != array.size):
        return None
    return np.ascontiguousarray(np.broadcast_to(array.reshape(-1), (outputs,)), np.float32)


def _settings(node: NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _window(node: NodeProto, kernel: tuple[int, ...], dimensions: int) -> Window:
    settings = _settings(node)
    strides = tuple(settings.get("strides", (1,) * dimensions))
    dilations = tuple(settings.get("dilations", (1,) * dimensions))
    pads = _pads(settings, kernel, strides, dilations)
    before, after = _two(pads[:dimensions], 0), _two(pads[dimensions:], 0)
    sides = (*before, *after)
    return Window(_two(kernel), _two(strides), sides, _two(dilations), groups=settings.get("group", 1))


def _pads(
    settings: dict[str, Any], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> tuple[int, ...]:
    """Before each dimension, then after each."""
    way = settings.get("auto_pad", b"NOTSET").decode()
    if way == "NOTSET":
        return tuple(settings.get("pads", (0,) * 2 * len(kernel)))
    if way == "VALID":
        return (0,) * 2 * len(kernel)
    if max(strides) > 1:
        raise LeftError(f"its padding, {way}, depends on the size of the input: give it pads")
    whole = [step * (size - 1) for size, step in zip(kernel, dilations, strict=True)]
    less, more = [each // 2 for each in whole], [each - each // 2 for each in whole]
    return tuple(less + more) if way == "SAME_UPPER" else tuple(more + less)


def _two(numbers: Any, instead: int = 1) -> Pair:
    """(down, across); along a line there is no down."""
    down, across = (*numbers,) if len(numbers) == 2 else (instead, *numbers)
    return int(down), int(across)


def _with_what_follows(scope: Scope, layer: Found) -> Found:
    """With the bias and the activation behind it; halves are rounded in between, so nothing is taken together there."""
    if layer.half:
        return layer
    if layer.bias is None and layer.window is None:
        layer = _with_bias(scope, layer)
    if (behind := activation_behind(scope, layer.y)) is not None:
        activation, nodes, y = behind
        layer = replace(layer, activation=activation, nodes=(*layer.nodes, *nodes), y=y)
    return layer


def _with_bias(scope: Scope, layer: Found) -> Found:
    users = scope.users(layer.y)
    if scope.uses[layer.y] != 1 or len(users) != 1 or users[0].domain or users[0].op_type != "Add":
        return layer
    (other,) = (name for name in users[0].input if name != layer.y)
    array = scope.constant(other)
    if array is None or array.ndim > 1:  # with more dimensions the sum may have more than the product
        return layer
    bias = _bias(scope, other, len(layer.matrix))
    if bias is None:
        return layer
    return replace(layer, bias=bias, nodes=(*layer.nodes, users[0]), y=users[0].output[0])
