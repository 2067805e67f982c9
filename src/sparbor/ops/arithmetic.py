"""Operators of two values, and arithmetic with constants: a scale and a shift for each feature or channel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sparbor.ops.activations import activated
from sparbor.ops.arguments import Argument, Size, Value, as_numpy, is_number, is_value, module_path, refuse
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph, Writer
from sparbor.packing.slots import not_finite
from sparbor.program.program import DTYPES, Activation, Axis, Dimension, Dimensions, Operation, ScaleShift

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import Node


def add(graph: Graph, node: Node, left: Argument, right: Argument, *, alpha: float = 1) -> Value:
    """left + alpha · right."""
    if is_value(left) and not is_value(right):
        scaled = _scale_shift(graph, node, left, 1, right, alpha)
    elif is_value(right) and not is_value(left):
        scaled = _scale_shift(graph, node, right, alpha, left)
    else:
        scaled = None
    if scaled is not None:
        return scaled
    if alpha == 1:
        return of_two(graph, node, "add", left, right)
    if alpha == -1:
        return of_two(graph, node, "subtract", left, right)
    scaled = _scale_shift(graph, node, right, alpha, 0)
    term = of_two(graph, node, "multiply", right, alpha) if scaled is None else scaled
    return of_two(graph, node, "add", left, term)


def subtract(graph: Graph, node: Node, left: Argument, right: Argument, *, alpha: float = 1) -> Value:
    """left − alpha · right."""
    return add(graph, node, left, right, alpha=-alpha)


def subtract_from(graph: Graph, node: Node, left: Argument, right: Argument, alpha: float = 1) -> Value:
    """right − alpha · left."""
    return add(graph, node, right, left, alpha=-alpha)


def multiply(graph: Graph, node: Node, left: Argument, right: Argument) -> Value:
    """By a constant or another value."""
    scaled = None
    if is_value(left) != is_value(right):
        value, factor = (left, right) if is_value(left) else (right, left)
        scaled = _scale_shift(graph, node, value, factor, 0)
    return of_two(graph, node, "multiply", left, right) if scaled is None else scaled


def divide(graph: Graph, node: Node, left: Argument, right: Argument, *, rounding_mode: str | None = None) -> Value:
    """left / right, or that rounded down."""
    if rounding_mode is not None:
        return _divide_rounded(graph, node, left, right, rounding_mode)
    if not is_value(right) and not isinstance(right, Size):
        scaled = _scale_shift(graph, node, left, 1 / graph.tensor(right), 0)
        if scaled is not None:
            return scaled
    return of_two(graph, node, "divide", left, right)


def _divide_rounded(graph: Graph, node: Node, left: Argument, right: Argument, mode: str) -> Value:
    if graph.result(node).type == "f32":
        if mode != "floor":
            refuse(node, f"divides and rounds with mode {mode!r}")
        return activated(graph, of_two(graph, node, "divide", left, right), "floor")
    if mode == "trunc" and not (is_number(right) and right > 0):
        refuse(node, "divides whole numbers and rounds towards zero")
    return of_two(graph, node, "floor_divide", left, right)


def negate(graph: Graph, node: Node, x: Argument) -> Value:
    """−x."""
    return multiply(graph, node, x, -1)


def power(graph: Graph, node: Node, base: Argument, exponent: Argument) -> Value:
    """base ^ exponent; the exponents that people use have operators of their own."""
    result = graph.result(node)
    if is_number(exponent) and (exponent == 2 or (exponent == 3 and result.type != "f32")):
        square = of_two(graph, node, "multiply", base, base)
        return square if exponent == 2 else of_two(graph, node, "multiply", square, base)
    if is_number(exponent) and result.type == "f32":
        named = {0.5: Activation("sqrt"), -0.5: Activation("rsqrt"), -1: Activation("reciprocal")}
        what = named.get(float(exponent), Activation("power", (float(exponent),)))
        value = graph.cast(graph.value(node, base), "f32")
        return graph.append("activation", (value,), result.shape, activation=what)
    return of_two(graph, node, "power", base, exponent)


def clamp(graph: Graph, node: Node, x: Argument, low: Argument = None, high: Argument = None) -> Value:
    """Not less than one bound, and not more than the other."""
    result = graph.result(node)
    if result.type == "f32" and all(each is None or is_number(each) for each in (low, high)):
        bounds = -math.inf if low is None else float(low), math.inf if high is None else float(high)
        value = graph.cast(graph.value(node, x), "f32")
        return graph.append("activation", (value,), result.shape, activation=Activation("clamp", bounds))
    clamped = x if low is None else of_two(graph, node, "maximum", x, low)
    return graph.value(node, clamped) if high is None else of_two(graph, node, "minimum", clamped, high)


def add_product(graph: Graph, node: Node, x: Argument, left: Argument, right: Argument, *, value: float = 1) -> Value:
    """x + value · left · right."""
    return _add_scaled(graph, node, x, of_two(graph, node, "multiply", left, right), value)


def add_quotient(graph: Graph, node: Node, x: Argument, left: Argument, right: Argument, *, value: float = 1) -> Value:
    """x + value · left / right."""
    return _add_scaled(graph, node, x, of_two(graph, node, "divide", left, right), value)


def _add_scaled(graph: Graph, node: Node, x: Argument, term: Value, factor: float) -> Value:
    return of_two(graph, node, "add", x, term if factor == 1 else of_two(graph, node, "multiply", term, factor))


def interpolate(graph: Graph, node: Node, start: Argument, end: Argument, weight: Argument) -> Value:
    """start + weight · (end − start)."""
    way = of_two(graph, node, "subtract", end, start)
    return of_two(graph, node, "add", start, of_two(graph, node, "multiply", way, weight))


def of_two(graph: Graph, node: Node, kind: str, left: Argument, right: Argument, dtype: str | None = None) -> Value:
    """An operator of two values in the type of the result, or in that type; dimensions of 1 are as if repeated."""
    dtype = dtype or graph.result(node).type
    values = alike(graph, node, (left, right), dtype)
    return graph.append(kind, values, broadcast(graph, node, values), dtype=dtype)


def alike(graph: Graph, node: Node, given: Sequence[Argument], dtype: str) -> tuple[Value, ...]:
    """Values of one type and of as many dimensions, new ones of 1 before their own."""
    values = [graph.cast(_value_of(graph, node, each, dtype), dtype) for each in given]
    return of_one_rank(graph, values)


def of_one_rank(graph: Graph, values: Sequence[Value]) -> tuple[Value, ...]:
    """Values of as many dimensions as the one that has most, new ones of 1 before their own."""
    rank = max(len(graph.shape(each)) for each in values)
    return tuple(graph.reshaped(each, (*(1,) * (rank - len(graph.shape(each))), *graph.shape(each))) for each in values)


def _value_of(graph: Graph, node: Node, given: Argument, dtype: str) -> Value:
    """A plain number in the type that it is used in."""
    if is_number(given):
        return graph.constant(np.array(given, DTYPES[dtype]))
    return graph.value(node, given)


def broadcast(graph: Graph, node: Node, values: Sequence[Value]) -> Dimensions:
    """The shape of what is computed number by number of values of as many dimensions."""
    shape: list[Dimension] = []
    for sizes in zip(*(graph.shape(value) for value in values), strict=True):
        wide = [size for size in sizes if size != 1]
        if any(size != wide[0] for size in wide):
            refuse(node, f"takes sizes {' and '.join(map(str, wide))}, which may be different")
        shape.append(wide[0] if wide else 1)
    return tuple(shape)


def _scale_shift(graph: Graph, node: Node, x: Argument, scale: Any, shift: Any, of_shift: float = 1) -> Value | None:
    """x · scale + of_shift · shift over the dimension along which they vary, if there is but one, and for floats."""
    result, value = graph.result(node), graph.value(node, x)
    if isinstance(scale, Size) or isinstance(shift, Size):
        return None
    if result.type != "f32" or graph.dtype(value) != "f32" or graph.shape(value) != result.shape or not result.shape:
        return None
    rank = len(result.shape)
    factors = [_of_rank(factor, rank) for factor in (graph.tensor(scale), of_shift * graph.tensor(shift))]
    along = {dim for factor in factors for dim, size in enumerate(factor.shape) if size > 1}
    place = _place(graph, value, along)
    if place is None:
        return None
    axis, rows = place
    features = rows[axis]
    assert isinstance(features, int)
    scale_shift = ScaleShift(*(_vector(factor, result.shape, features) for factor in factors))
    name = graph.unique(f"{module_path(node)}.{node.name}".removeprefix("."))
    if not_finite(scale_shift.arrays()):
        return None
    graph.weights[name] = scale_shift
    changed = graph.append("scale_shift", (graph.reshaped(value, rows),), rows, layer=name, settings=Axis(axis))
    return graph.reshaped(changed, result.shape)


def _of_rank(factor: Tensor, rank: int) -> Tensor:
    """The constant with as many dimensions as the value."""
    return factor.reshape((1,) * (rank - factor.dim()) + factor.shape)


def _place(graph: Graph, value: Value, along: set[int]) -> tuple[int, Dimensions] | None:
    """The axis, and the shape in which factors that vary along these dimensions are one row; None if there is none."""
    shape = graph.shape(value)
    last = len(shape) - 1
    is_known = [isinstance(size, int) for size in shape]
    if last > 1 and along <= {1} and is_known[1] and (along or graph.made_by(value) != "linear"):
        return 1, shape
    if along <= {last} and is_known[last]:
        return last, shape
    if last > 0 and 0 not in along and all(is_known[1:]):
        return 1, (shape[0], math.prod(int(str(size)) for size in shape[1:]))
    return None


def _vector(factor: Tensor, shape: Dimensions, features: int) -> Any:
    if factor.numel() == 1:
        return np.full(features, float(factor), np.float32)
    whole = factor if factor.numel() == features else factor.expand(1, *(int(str(size)) for size in shape[1:]))
    return as_numpy(whole.reshape(-1))


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
    "div.Tensor_mode": divide,
    "div.Scalar_mode": divide,
    "floor_divide.default": partial(divide, rounding_mode="floor"),
    "remainder.Tensor": lambda graph, node, *given: of_two(graph, node, "remainder", *given),
    "remainder.Scalar": lambda graph, node, *given: of_two(graph, node, "remainder", *given),
    "neg.default": negate,
    "pow.Tensor_Scalar": power,
    "pow.Tensor_Tensor": power,
    "pow.Scalar": power,
    "square.default": lambda graph, node, x: of_two(graph, node, "multiply", x, x),
    "maximum.default": lambda graph, node, *given: of_two(graph, node, "maximum", *given),
    "minimum.default": lambda graph, node, *given: of_two(graph, node, "minimum", *given),
    "max.other": lambda graph, node, *given: of_two(graph, node, "maximum", *given),
    "min.other": lambda graph, node, *given: of_two(graph, node, "minimum", *given),
    "clamp.default": clamp,
    "clamp.Tensor": clamp,
    "clamp_min.default": clamp,
    "clamp_min.Tensor": clamp,
    "clamp_max.default": lambda graph, node, x, high: clamp(graph, node, x, None, high),
    "clamp_max.Tensor": lambda graph, node, x, high: clamp(graph, node, x, None, high),
    "addcmul.default": add_product,
    "addcdiv.default": add_quotient,
    "lerp.Scalar": interpolate,
    "lerp.Tensor": interpolate,
}

NEURONS: Mapping[str, str] = dict.fromkeys(LOWERINGS, "number_by_number")
