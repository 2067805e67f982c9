"""Sums of two values, and arithmetic with constants: a scale and a shift for each feature or channel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from sparbor.errors import ArgumentError
from sparbor.lowering.graph import WAY_OUT, Argument, Constant, Graph, Operator, Padded, Value
from sparbor.lowering.neurons import NeuronRule, number_by_number
from sparbor.lowering.tracing import module_path, where
from sparbor.lowering.weights import as_numpy
from sparbor.packing.slots import not_finite
from sparbor.program.program import Affine
from sparbor.program.windows import Shape


def add(graph: Graph, node: Node, left: Argument, right: Argument, *, alpha: float = 1) -> Value:
    """left + alpha · right."""
    if not _is_value(left):
        return _affine(graph, node, right, alpha, left)
    if not _is_value(right):
        return _affine(graph, node, left, 1, right, alpha)
    left, right = graph.value(node, left), graph.value(node, right)
    if graph.shapes[left] != graph.shapes[right]:
        shapes = f"{graph.shapes[left]} and {graph.shapes[right]}"
        raise ArgumentError(f"{where(node)} adds shapes {shapes}: the engine adds equal ones. {WAY_OUT}")
    if alpha != 1:
        right = _affine(graph, node, right, alpha, 0)
    return graph.append("add", (left, right), graph.result_shape(node))


def subtract(graph: Graph, node: Node, left: Argument, right: Argument, *, alpha: float = 1) -> Value:
    """left − alpha · right."""
    return add(graph, node, left, right, alpha=-alpha)


def subtract_from(graph: Graph, node: Node, left: Argument, right: Argument, alpha: float = 1) -> Value:
    """right − alpha · left."""
    return add(graph, node, right, left, alpha=-alpha)


def multiply(graph: Graph, node: Node, left: Argument, right: Argument) -> Value:
    """By a constant."""
    if _is_value(left) and _is_value(right):
        raise ArgumentError(f"{where(node)} multiplies two computed values. {WAY_OUT}")
    return _affine(graph, node, left, right, 0) if _is_value(left) else _affine(graph, node, right, left, 0)


def divide(graph: Graph, node: Node, left: Argument, right: Argument) -> Value:
    """By a constant."""
    if _is_value(right):
        raise ArgumentError(f"{where(node)} divides by a computed value. {WAY_OUT}")
    return _affine(graph, node, left, 1 / _tensor(right), 0)


def negate(graph: Graph, node: Node, x: Argument) -> Value:
    """−x."""
    return _affine(graph, node, x, -1, 0)


def _is_value(argument: Argument) -> bool:
    return isinstance(argument, (Value, Padded))


def _tensor(argument: Argument) -> Tensor:
    given = argument.tensor if isinstance(argument, Constant) else argument
    return torch.as_tensor(given, dtype=torch.float64)


def _affine(graph: Graph, node: Node, x: Argument, scale: Any, shift: Any, of_shift: float = 1) -> Value:
    """x · scale + of_shift · shift, over the dimension along which they vary."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    if graph.shapes[value] != shape:
        raise ArgumentError(f"{where(node)} makes items of shape {shape} of {graph.shapes[value]}. {WAY_OUT}")
    factors = _for_an_item(node, _tensor(scale), shape), _for_an_item(node, of_shift * _tensor(shift), shape)
    along = {dim for factor in factors for dim, size in enumerate(factor.shape) if size > 1}
    kind, rows = _place(graph, value, along)
    features = rows[-1] if kind == "affine" else rows[0]
    affine = Affine(*(_vector(factor, shape, features, kind) for factor in factors))
    name = graph.unique(f"{module_path(node)}.{node.name}".removeprefix("."))
    if not_finite(affine.arrays()):
        raise ArgumentError(f"{where(node)} computes with a constant that is 0, NaN or infinite: mend it")
    graph.weights[name] = affine
    changed = graph.append(kind, (graph.reshaped(value, rows),), rows, layer=name)
    return graph.reshaped(changed, shape)


def _for_an_item(node: Node, factor: Tensor, shape: Shape) -> Tensor:
    """The constant with as many dimensions as an item."""
    if factor.dim() == len(shape) + 1 and factor.shape[0] == 1:
        return factor[0]
    if factor.dim() > len(shape):
        raise ArgumentError(f"{where(node)} computes with a constant of shape {tuple(factor.shape)}. {WAY_OUT}")
    return factor.reshape((1,) * (len(shape) - factor.dim()) + factor.shape)


def _place(graph: Graph, value: Value, along: set[int]) -> tuple[str, Shape]:
    """The kind of operation, and the shape in which the factors that vary along these dimensions are one row."""
    shape = graph.shapes[value]
    numbers, last = math.prod(shape), len(shape) - 1
    if len(shape) > 1 and along <= {0} and (along or graph.made_by(value) != "linear"):
        return "channel_affine", shape
    if along <= {last} and len(shape) > 1:
        return "affine", (numbers // shape[-1], shape[-1])
    return "affine", (numbers,)


def _vector(factor: Tensor, shape: Shape, features: int, kind: str) -> Any:
    if factor.numel() == 1:
        return np.full(features, float(factor), np.float32)
    whole = factor.reshape(-1) if factor.numel() == features else factor.expand(shape).reshape(-1)
    return as_numpy(whole)


OPERATORS: Mapping[str, Operator] = {
    "add.Tensor": add,
    "add.Scalar": add,
    "sub.Tensor": subtract,
    "sub.Scalar": subtract,
    "rsub.Scalar": subtract_from,
    "rsub.Tensor": subtract_from,
    "mul.Tensor": multiply,
    "mul.Scalar": multiply,
    "div.Tensor": divide,
    "div.Scalar": divide,
    "neg.default": negate,
}

NEURONS: Mapping[str, NeuronRule] = dict.fromkeys(OPERATORS, number_by_number)
