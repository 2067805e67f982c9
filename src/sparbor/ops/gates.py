"""Functions of one number, and gates, that are put together from what the engine has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sparbor.ops.activations import activated
from sparbor.ops.arguments import Argument, Constant, Value, refuse
from sparbor.ops.arithmetic import of_two
from sparbor.ops.comparisons import comparison, where
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.shapes import sliced
from sparbor.ops.targets import Graph

if TYPE_CHECKING:
    from torch.fx import Node


def gated_linear_unit(graph: Graph, node: Node, x: Argument, dim: int = -1) -> Value:
    """The first half times the sigmoid of the second (Dauphin et al., 2017)."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    axis = dim % len(shape)
    half = shape[axis]
    if not isinstance(half, int):
        refuse(node, "halves a dimension whose size depends on the inputs")
    first, second = (sliced(graph, value, axis, start, half) for start in (0, half))
    return of_two(graph, node, "multiply", first, activated(graph, second, "sigmoid"))


def prelu(graph: Graph, node: Node, x: Argument, slope: Argument) -> Value:
    """max(x, 0) + slope · min(x, 0), a slope for each channel or one for all."""
    value = graph.value(node, x)
    if isinstance(slope, Constant) and slope.tensor.dim() == 1 and slope.tensor.numel() > 1:
        behind = (1,) * (len(graph.shape(value)) - 2)
        slope = Constant(slope.tensor.reshape(-1, *behind), slope.name)
    below = activated(graph, value, "clamp", -np.inf, 0.0)
    return of_two(graph, node, "add", activated(graph, value, "relu"), of_two(graph, node, "multiply", below, slope))


def celu(graph: Graph, node: Node, x: Argument, alpha: float = 1.0) -> Value:
    """max(x, 0) + min(0, alpha · (exp(x / alpha) − 1)): an ELU of x / alpha, times alpha."""
    narrowed = of_two(graph, node, "multiply", x, 1 / alpha)
    return activated(graph, narrowed, "elu", 1.0, alpha)


def hard_shrink(graph: Graph, node: Node, x: Argument, bound: float = 0.5) -> Value:
    """x, and 0 between the bounds."""
    value = graph.value(node, x)
    within = comparison(graph, node, activated(graph, value, "abs"), bound, kind="less_equal")
    return where(graph, node, within, 0.0, value)


def soft_shrink(graph: Graph, node: Node, x: Argument, bound: float = 0.5) -> Value:
    """x less what it has within the bounds."""
    value = graph.value(node, x)
    return of_two(graph, node, "subtract", value, activated(graph, value, "clamp", -bound, bound))


def tanh_shrink(graph: Graph, node: Node, x: Argument) -> Value:
    """x − tanh x."""
    value = graph.value(node, x)
    return of_two(graph, node, "subtract", value, activated(graph, value, "tanh"))


def threshold(graph: Graph, node: Node, x: Argument, bound: float, otherwise: float) -> Value:
    """x above the bound, else another number."""
    value = graph.value(node, x)
    return where(graph, node, comparison(graph, node, value, bound, kind="greater"), value, otherwise)


def absolute(graph: Graph, node: Node, x: Argument) -> Value:
    """|x|; of whole numbers the larger of x and −x."""
    value = graph.value(node, x)
    if graph.dtype(value) == "f32":
        return activated(graph, value, "abs")
    return of_two(graph, node, "maximum", value, of_two(graph, node, "multiply", value, -1))


def sign(graph: Graph, node: Node, x: Argument) -> Value:
    """−1, 0 or 1; of whole numbers between those."""
    value = graph.value(node, x)
    if graph.dtype(value) == "f32":
        return activated(graph, value, "sign")
    return of_two(graph, node, "minimum", of_two(graph, node, "maximum", value, -1), 1)


OPERATORS: tuple[Operator, ...] = ()  # it has none of its own

LOWERINGS: Mapping[str, Lowering] = {
    "abs.default": absolute,
    "sign.default": sign,
    "glu.default": gated_linear_unit,
    "prelu.default": prelu,
    "_prelu_kernel.default": prelu,
    "celu.default": celu,
    "hardshrink.default": hard_shrink,
    "softshrink.default": soft_shrink,
    "tanhshrink.default": tanh_shrink,
    "threshold.default": threshold,
}

NEURONS: Mapping[str, str] = {}
