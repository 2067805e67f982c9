"""Functions of numbers that the engine has not, put together from those that it has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from sparbor.ops.activations import activated
from sparbor.ops.arguments import Argument, Value
from sparbor.ops.arithmetic import of_two
from sparbor.ops.comparisons import comparison, where
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.reductions import reduced
from sparbor.ops.targets import Graph

if TYPE_CHECKING:
    from torch.fx import Node


def _float(graph: Graph, node: Node, x: Argument) -> Value:
    return graph.cast(graph.value(node, x), "f32")


def logarithm(graph: Graph, node: Node, x: Argument, *, base: float) -> Value:
    """log x / log base."""
    return of_two(graph, node, "multiply", activated(graph, _float(graph, node, x), "log"), 1 / math.log(base))


def power_of_two(graph: Graph, node: Node, x: Argument) -> Value:
    """2 ^ x."""
    return activated(graph, of_two(graph, node, "multiply", _float(graph, node, x), math.log(2)), "exp")


def exp_minus_one(graph: Graph, node: Node, x: Argument) -> Value:
    """eˣ − 1 as (tanh x/2) · (eˣ + 1), which is exact where x is small, too."""
    value = _float(graph, node, x)
    half = activated(graph, of_two(graph, node, "multiply", value, 0.5), "tanh")
    power = activated(graph, value, "exp")
    near = of_two(graph, node, "multiply", half, of_two(graph, node, "add", power, 1.0))
    return where(graph, node, comparison(graph, node, value, 80.0, kind="greater"), power, near)


def hyperbolic(graph: Graph, node: Node, x: Argument, *, kind: str) -> Value:
    """(eˣ ± e⁻ˣ) / 2."""
    value = _float(graph, node, x)
    both = activated(graph, value, "exp"), activated(graph, activated(graph, value, "negative"), "exp")
    return of_two(graph, node, "multiply", of_two(graph, node, kind, *both), 0.5)


def tangent(graph: Graph, node: Node, x: Argument) -> Value:
    """sin x / cos x."""
    value = _float(graph, node, x)
    return of_two(graph, node, "divide", activated(graph, value, "sin"), activated(graph, value, "cos"))


def complementary_error(graph: Graph, node: Node, x: Argument) -> Value:
    """1 − erf x."""
    return of_two(graph, node, "subtract", 1.0, activated(graph, _float(graph, node, x), "erf"))


def towards_zero(graph: Graph, node: Node, x: Argument) -> Value:
    """Without what is behind the point."""
    value = graph.value(node, x)
    if graph.dtype(value) != "f32":
        return value
    return where(graph, node, comparison(graph, node, value, 0.0, kind="less"), *_rounded(graph, value))


def _rounded(graph: Graph, value: Value) -> tuple[Value, Value]:
    return activated(graph, value, "ceil"), activated(graph, value, "floor")


def is_infinite(graph: Graph, node: Node, x: Argument) -> Value:
    """Whether it is ∞ or −∞."""
    return comparison(graph, node, activated(graph, _float(graph, node, x), "abs"), math.inf, kind="equal")


def bucket(
    graph: Graph, node: Node, x: Argument, bounds: Argument, *, right: bool = False, out_int32: bool = False
) -> Value:
    """How many of the bounds, which are sorted, lie below each number, or below and at it."""
    result = graph.result(node)
    value, limits = graph.value(node, x), graph.value(node, bounds)
    apart = graph.reshaped(value, (*graph.shape(value), 1))
    above = comparison(graph, node, apart, limits, kind="greater_equal" if right else "greater")
    counted = reduced(graph, graph.cast(above, "i64"), "reduce_sum", [len(graph.shape(above)) - 1])
    return graph.cast(graph.reshaped(counted, result.shape), result.type)


OPERATORS: tuple[Operator, ...] = ()

LOWERINGS: Mapping[str, Lowering] = {
    "log2.default": partial(logarithm, base=2.0),
    "log10.default": partial(logarithm, base=10.0),
    "exp2.default": power_of_two,
    "expm1.default": exp_minus_one,
    "sinh.default": partial(hyperbolic, kind="subtract"),
    "cosh.default": partial(hyperbolic, kind="add"),
    "tan.default": tangent,
    "erfc.default": complementary_error,
    "trunc.default": towards_zero,
    "bucketize.Tensor": bucket,
    "isinf.default": is_infinite,
}

NEURONS: Mapping[str, str] = dict.fromkeys(LOWERINGS, "number_by_number")
