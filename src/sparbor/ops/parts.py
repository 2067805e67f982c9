"""Parts of a value: windows along a dimension and diagonals; and indices moved round, or the other way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sparbor.ops.arguments import Argument, Value, refuse
from sparbor.ops.arithmetic import of_two
from sparbor.ops.arrays import dimension_as_value
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.shapes import joined, sliced, taken, taken_at
from sparbor.ops.targets import Graph
from sparbor.program.program import Range, plus, times

if TYPE_CHECKING:
    from torch.fx import Node


def windows(graph: Graph, node: Node, x: Argument, dim: int, length: int, step: int) -> Value:
    """Windows along a dimension, each `step` behind the one before; their numbers become the last dimension."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    axis = dim % len(graph.shape(value)) if graph.shape(value) else 0
    count = shape[axis]
    before, after = shape[:axis], shape[axis + 1 : -1]
    last = len(shape) - 1
    to_the_end = [*range(axis + 1), *range(axis + 2, last + 1), axis + 1]
    if length % step == 0 and length >= step:  # windows of whole pieces, which are cut once
        each = length // step
        pieces = plus(count, each - 1)
        whole = sliced(graph, value, axis, 0, times(pieces, step))
        cut = graph.reshaped(whole, (*before, pieces, step, *after))
        parts = [sliced(graph, cut, axis, i, count) for i in range(each)]
        return graph.permuted(joined(graph, parts, axis + 1, length), to_the_end)
    one = (*before, count, 1, *after)
    parts = [graph.reshaped(sliced(graph, value, axis, i, count, step), one) for i in range(length)]
    return graph.permuted(joined(graph, parts, axis + 1, length), to_the_end)


def diagonal(graph: Graph, node: Node, x: Argument, offset: int = 0, first: int = 0, second: int = 1) -> Value:
    """Of two dimensions, which go; it becomes the last one."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    rank = len(graph.shape(value))
    axes = first % rank, second % rank
    value = graph.permuted(value, [*(axis for axis in range(rank) if axis not in axes), *axes])
    *around, rows, columns = graph.shape(value)
    if not isinstance(rows, int) or not isinstance(columns, int):
        refuse(node, "is a diagonal of dimensions whose sizes depend on the inputs")
    places = np.diagonal(np.arange(rows * columns).reshape(rows, columns), offset)
    flat = graph.reshaped(value, (*around, rows * columns))
    return graph.reshaped(taken(graph, flat, rank - 2, places.tolist()), shape)


def roll(graph: Graph, node: Node, x: Argument, shifts: Sequence[int], dims: Sequence[int] = ()) -> Value:
    """Indices moved along dimensions, those that fall out at the end put in at the beginning."""
    value = graph.value(node, x)
    shape = graph.shape(value)
    for shift, dim in zip(shifts, dims, strict=True):
        axis = dim % len(shape)
        size = shape[axis]
        if not isinstance(size, int):
            places = graph.append("range", (), (size,), dtype="i64", settings=Range(-shift, 1))
            around = of_two(graph, node, "remainder", places, dimension_as_value(graph, size), "i64")
            value = taken_at(graph, value, axis, around)
        elif first := -shift % size:
            parts = sliced(graph, value, axis, first, size - first), sliced(graph, value, axis, 0, first)
            value = joined(graph, parts, axis, size)
    return value


def flip(graph: Graph, node: Node, x: Argument, dims: Sequence[int]) -> Value:
    """The other way round along dimensions."""
    value = graph.value(node, x)
    for dim in dims:
        axis = dim % len(graph.shape(value))
        size = graph.shape(value)[axis]
        places = graph.append("range", (), (size,), dtype="i64", settings=Range(-1, -1))
        value = taken_at(graph, value, axis, of_two(graph, node, "add", places, dimension_as_value(graph, size), "i64"))
    return value


OPERATORS: tuple[Operator, ...] = ()

LOWERINGS: Mapping[str, Lowering] = {
    "unfold.default": windows,
    "diagonal.default": diagonal,
    "roll.default": roll,
    "flip.default": flip,
}

NEURONS: Mapping[str, str] = {}
