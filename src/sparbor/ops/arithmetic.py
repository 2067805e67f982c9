"""Operators of two values, and arithmetic with constants: a scale and a shift for each feature or channel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.ops.arguments import Argument, Value, as_numpy, is_value, module_path, refuse, where
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph, Writer
from sparbor.packing.slots import not_finite
from sparbor.program.program import Axis, Operation, ScaleShift
from sparbor.program.windows import Shape

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import Node


def add(graph: Graph, node: Node, left: Argument, right: Argument, *, alpha: float = 1) -> Value:
    """left + alpha · right."""
    if not is_value(left):
        return _scale_shift(graph, node, right, alpha, left)
    if not is_value(right):
        return _scale_shift(graph, node, left, 1, right, alpha)
    if alpha != 1:
        right = _scale_shift(graph, node, right, alpha, 0)
    return _of_two(graph, node, "add", left, right)


def subtract(graph: Graph, node: Node, left: Argument, right: Argument, *, alpha: float = 1) -> Value:
    """left − alpha · right."""
    return add(graph, node, left, right, alpha=-alpha)


def subtract_from(graph: Graph, node: Node, left: Argument, right: Argument, alpha: float = 1) -> Value:
    """right − alpha · left."""
    return add(graph, node, right, left, alpha=-alpha)


def multiply(graph: Graph, node: Node, left: Argument, right: Argument) -> Value:
    """By a constant or another value."""
    if is_value(left) and is_value(right):
        return _of_two(graph, node, "multiply", left, right)
    return _scale_shift(graph, node, left, right, 0) if is_value(left) else _scale_shift(graph, node, right, left, 0)


def divide(graph: Graph, node: Node, left: Argument, right: Argument) -> Value:
    """By a constant."""
    if is_value(right):
        refuse(node, "divides by a computed value")
    return _scale_shift(graph, node, left, 1 / graph.tensor(right), 0)


def negate(graph: Graph, node: Node, x: Argument) -> Value:
    """−x."""
    return _scale_shift(graph, node, x, -1, 0)


def _of_two(graph: Graph, node: Node, kind: str, left: Argument, right: Argument) -> Value:
    """An operator of two values, of which a dimension of 1 is as if repeated."""
    values = graph.value(node, left), graph.value(node, right)
    shapes = [graph.shapes[value] for value in values]
    if len(shapes[0]) != len(shapes[1]):
        refuse(node, f"takes shapes {shapes[0]} and {shapes[1]}: the engine takes values of as many dimensions")
    return graph.append(kind, values, graph.result_shape(node))


def _scale_shift(graph: Graph, node: Node, x: Argument, scale: Any, shift: Any, of_shift: float = 1) -> Value:
    """x · scale + of_shift · shift, over the dimension along which they vary."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    if graph.shapes[value] != shape:
        refuse(node, f"makes items of shape {shape} of {graph.shapes[value]}")
    factors = _for_an_item(node, graph.tensor(scale), shape), _for_an_item(node, of_shift * graph.tensor(shift), shape)
    along = {dim for factor in factors for dim, size in enumerate(factor.shape) if size > 1}
    axis, rows = _place(graph, value, along)
    scale_shift = ScaleShift(*(_vector(factor, shape, rows[axis - 1]) for factor in factors))
    name = graph.unique(f"{module_path(node)}.{node.name}".removeprefix("."))
    if not_finite(scale_shift.arrays()):
        raise ArgumentError(f"{where(node)} computes with a constant that is 0, NaN or infinite: mend it")
    graph.weights[name] = scale_shift
    changed = graph.append("scale_shift", (graph.reshaped(value, rows),), rows, layer=name, settings=Axis(axis))
    return graph.reshaped(changed, shape)


def _for_an_item(node: Node, factor: Tensor, shape: Shape) -> Tensor:
    """The constant with as many dimensions as an item."""
    if factor.dim() == len(shape) + 1 and factor.shape[0] == 1:
        return factor[0]
    if factor.dim() > len(shape):
        refuse(node, f"computes with a constant of shape {tuple(factor.shape)}")
    return factor.reshape((1,) * (len(shape) - factor.dim()) + factor.shape)


def _place(graph: Graph, value: Value, along: set[int]) -> tuple[int, Shape]:
    """The axis, the batch counted, and the shape in which the factors that vary along these dimensions are one row."""
    shape = graph.shapes[value]
    numbers, last = math.prod(shape), len(shape) - 1
    if len(shape) > 1 and along <= {0} and (along or graph.made_by(value) != "linear"):
        return 1, shape
    if along <= {last} and len(shape) > 1:
        return 2, (numbers // shape[-1], shape[-1])
    return 1, (numbers,)


def _vector(factor: Tensor, shape: Shape, features: int) -> Any:
    if factor.numel() == 1:
        return np.full(features, float(factor), np.float32)
    whole = factor.reshape(-1) if factor.numel() == features else factor.expand(shape).reshape(-1)
    return as_numpy(whole)


def _to_onnx(graph: OnnxGraph, operation: Operation, y: str, *, node: str) -> None:
    graph.node(node, [graph.name_of(value) for value in operation.inputs], y)


def _remainder(graph: OnnxGraph, operation: Operation, y: str | None = None) -> str:
    """Of the divisor's sign, which ONNX has of whole numbers alone: of floats it has the dividend's."""
    x, by = (graph.name_of(value) for value in operation.inputs)
    if graph.program.values[operation.output].type != "f32":
        return graph.node("Mod", [x, by], y)
    rest, zero = graph.node("Mod", [x, by], fmod=1), graph.scalar("zero", 0)
    negative = [graph.node("Less", [each, zero]) for each in (rest, by)]
    there = graph.node("Not", [graph.node("Equal", [rest, zero])])
    turned = graph.node("And", [there, graph.node("Xor", negative)])
    return graph.node("Where", [turned, graph.node("Add", [rest, by]), rest], y)


def _remainder_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    _remainder(graph, operation, y)


def _floor_divide_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """What is left without the remainder, divided: a whole number, but for rounding."""
    x, by = (graph.name_of(value) for value in operation.inputs)
    whole = graph.node("Sub", [x, _remainder(graph, operation)])
    if graph.program.values[operation.output].type != "f32":
        graph.node("Div", [whole, by], y)
    else:
        graph.node("Round", [graph.node("Div", [whole, by])], y)


def _to_c(writer: Writer, _: int, operation: Operation, *, operator: str) -> None:
    """A loop over the numbers, or one in another for each dimension, if some are repeated."""
    shapes = [writer.program.items[value] for value in operation.inputs]
    left, right = map(writer.place, operation.inputs)
    writer.pairs(shapes[0], shapes[1], left, operator, right, writer.place(operation.output))


def _operator(kind: str, node: str, symbol: str) -> Operator:
    """An operator of two values: its name to the engine, to ONNX and in C."""
    return Operator(
        kind,
        partial(_to_onnx, node=node),
        partial(_to_c, operator=symbol),
        inputs=2,
        activation="maybe",
        in_place_in_c=True,
    )


OPERATORS = (
    _operator("add", "Add", "+"),
    _operator("multiply", "Mul", "*"),
    _operator("subtract", "Sub", "-"),
    _operator("divide", "Div", "/"),
    Operator("floor_divide", _floor_divide_to_onnx, None, inputs=2, activation="maybe"),
    Operator("remainder", _remainder_to_onnx, None, inputs=2, activation="maybe"),
    Operator("power", partial(_to_onnx, node="Pow"), None, inputs=2, activation="maybe"),
    Operator("minimum", partial(_to_onnx, node="Min"), None, inputs=2, activation="maybe"),
    Operator("maximum", partial(_to_onnx, node="Max"), None, inputs=2, activation="maybe"),
)

LOWERINGS: Mapping[str, Lowering] = {
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

NEURONS: Mapping[str, str] = dict.fromkeys(LOWERINGS, "number_by_number")
