"""Pools, adaptive pools, and means and maxima over whole planes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch.fx import Node

from sparbor.errors import ArgumentError
from sparbor.lowering.graph import WAY_OUT, Argument, Graph, Operator, Value
from sparbor.lowering.neurons import NeuronRule, over_dimensions, plane_by_plane
from sparbor.lowering.operators.pairs import pair
from sparbor.lowering.tracing import where
from sparbor.program.windows import AverageWindow, Window


def max_pool(
    graph: Graph,
    node: Node,
    x: Argument,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    dimensions: int,
) -> Value:
    """`max_pool1d` and `max_pool2d`; how far `ceil_mode` reaches shows in the shape of the result."""
    planes = _planes(graph, node, x, dimensions)
    window = Window(
        pair(kernel, dimensions),
        pair(stride or kernel, dimensions),
        pair(padding, dimensions, 0) * 2,
        pair(dilation, dimensions),
        groups=graph.shapes[planes][0],
    )
    return graph.append("max_pool", (planes,), graph.result_shape(node), settings=window)


def average_pool(
    graph: Graph,
    node: Node,
    x: Argument,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dimensions: int,
) -> Value:
    """`avg_pool1d` and `avg_pool2d`."""
    planes = _planes(graph, node, x, dimensions)
    window = AverageWindow(
        pair(kernel, dimensions),
        pair(stride or kernel, dimensions),
        pair(padding, dimensions, 0) * 2,
        groups=graph.shapes[planes][0],
        include_padding=count_include_pad,
        divisor=divisor_override or 0,
    )
    return graph.append("average_pool", (planes,), graph.result_shape(node), settings=window)


def adaptive_pool(graph: Graph, node: Node, x: Argument, _: Any, *, kind: str, dimensions: int) -> Value:
    """To the planes of the result; those that have its size stay as they are."""
    planes, shape = _planes(graph, node, x, dimensions), graph.result_shape(node)
    return planes if graph.shapes[planes] == shape else graph.append(kind, (planes,), shape)


def over_planes(
    graph: Graph,
    node: Node,
    x: Argument,
    dims: Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    kind: str,
    dtype: Any = None,
) -> Value:
    """The mean or the maximum over all dimensions of an item but its channels."""
    value = graph.value(node, x)
    rank = len(graph.shapes[value]) + 1
    given = sorted(dim % rank for dim in dims or ())
    if rank < 3 or given != list(range(2, rank)):
        raise ArgumentError(
            f"{where(node)} is over the dimensions {dims}: the engine has it over all but the batch and the channels, "
            f"as in x.mean((2, 3)). {WAY_OUT}"
        )
    channels, *inside = graph.shapes[value]
    planes = graph.reshaped(value, (channels, 1, math.prod(inside)))
    return graph.reshaped(graph.append(kind, (planes,), (channels, 1, 1)), graph.result_shape(node))


def _planes(graph: Graph, node: Node, x: Argument, dimensions: int) -> Value:
    value = graph.value(node, x)
    shape = graph.shapes[value]
    if len(shape) != dimensions + 1:
        raise ArgumentError(f"{where(node)} pools items of shape {shape}: pass a batch of images or of sequences")
    return value


def _first_of_two(operator: Operator) -> Operator:
    """As an operator that returns indices as well, which nothing may use."""
    return lambda *args, **kwargs: (operator(*args, **kwargs), None)


_MAX = {dimensions: partial(max_pool, dimensions=dimensions) for dimensions in (1, 2)}
_AVERAGE = {dimensions: partial(average_pool, dimensions=dimensions) for dimensions in (1, 2)}
_ADAPTIVE_AVERAGE = {
    dimensions: partial(adaptive_pool, kind="adaptive_average_pool", dimensions=dimensions) for dimensions in (1, 2)
}
_ADAPTIVE_MAX = {
    dimensions: _first_of_two(partial(adaptive_pool, kind="adaptive_max_pool", dimensions=dimensions))
    for dimensions in (1, 2)
}

OPERATORS: Mapping[str, Operator] = {
    "max_pool1d.default": _MAX[1],
    "max_pool2d.default": _MAX[2],
    "max_pool1d_with_indices.default": _first_of_two(_MAX[1]),
    "max_pool2d_with_indices.default": _first_of_two(_MAX[2]),
    "avg_pool1d.default": _AVERAGE[1],
    "avg_pool2d.default": _AVERAGE[2],
    "adaptive_avg_pool1d.default": _ADAPTIVE_AVERAGE[1],
    "adaptive_avg_pool2d.default": _ADAPTIVE_AVERAGE[2],
    "_adaptive_avg_pool2d.default": _ADAPTIVE_AVERAGE[2],
    "adaptive_max_pool1d.default": _ADAPTIVE_MAX[1],
    "adaptive_max_pool2d.default": _ADAPTIVE_MAX[2],
    "mean.dim": partial(over_planes, kind="adaptive_average_pool"),
    "amax.default": partial(over_planes, kind="adaptive_max_pool"),
}


def _rule(name: str) -> NeuronRule:
    dimensions = re.search(r"pool(\d)d", name)
    return partial(plane_by_plane, dimensions=int(dimensions[1])) if dimensions else over_dimensions


# Those over volumes the engine has not.
_OF_VOLUMES = (
    *("max_pool3d.default", "max_pool3d_with_indices.default", "avg_pool3d.default"),
    *("adaptive_avg_pool3d.default", "_adaptive_avg_pool3d.default", "adaptive_max_pool3d.default"),
)

NEURONS: Mapping[str, NeuronRule] = {name: _rule(name) for name in (*OPERATORS, *_OF_VOLUMES)}
