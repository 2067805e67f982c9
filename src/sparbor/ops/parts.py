"""Parts of a value: put into others, taken as windows or diagonals, and moved round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sparbor.ops.arguments import Argument, Size, Value, refuse
from sparbor.ops.arithmetic import of_two
from sparbor.ops.arrays import dimension_as_value
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.shapes import sliced, taken, taken_at
from sparbor.ops.targets import Graph
from sparbor.program.program import Axis, Dimension, Range

if TYPE_CHECKING:
    from torch.fx import Node


def copy(graph: Graph, node: Node, _: Argument, source: Argument, *__: bool) -> Value:
    """The source, in shape and type of what it is written to."""
    result = graph.result(node)
    return graph.expanded(graph.cast(graph.value(node, source), result.type), result.shape)


def put_into_slice(
    graph: Graph,
    node: Node,
    x: Argument,
    source: Argument,
    dim: int = 0,
    start: int | Size | None = None,
    end: int | Size | None = None,
    step: int = 1,
) -> Value:
    """The source in the place of a slice."""
    result = graph.result(node)
    value, part = (graph.cast(graph.value(node, each), result.type) for each in (x, source))
    axis = dim % len(result.shape)
    if graph.shape(part) == result.shape:
        return part
    size, count = result.shape[axis], graph.shape(part)[axis]
    begin = _begin(graph, node, start, size)
    if step == 1:
        return _between(graph, node, value, part, axis, begin)
    if not isinstance(size, int) or not isinstance(count, int):
        refuse(node, "writes to every so many indices of a dimension whose size depends on the inputs")
    places = np.arange(size)
    places[begin : begin + count * step : step] = size + np.arange(count)
    return taken(graph, _joined(graph, [value, part], axis, size + count), axis, places.tolist())


def _begin(graph: Graph, node: Node, start: int | Size | None, size: Dimension) -> int:
    begin = graph.dimensions(node, [start.symbol])[0] if isinstance(start, Size) else start or 0
    if isinstance(begin, int) and isinstance(size, int):
        return slice(begin, None).indices(size)[0]
    if not isinstance(begin, int) or begin < 0:
        refuse(node, "writes from an index on that depends on the sizes of the inputs")
    return begin


def _between(graph: Graph, node: Node, value: Value, part: Value, axis: int, begin: int) -> Value:
    """The part between what is before and behind it."""
    size, count = graph.shape(value)[axis], graph.shape(part)[axis]
    parts = [*([sliced(graph, value, axis, 0, begin)] if begin else []), part]
    if isinstance(size, int) and isinstance(count, int):
        if rest := size - begin - count:
            parts.append(sliced(graph, value, axis, begin + count, rest))
    elif isinstance(count, int):
        further: Dimension = ("-", size, begin + count)
        parts.append(sliced(graph, value, axis, begin + count, further))
    elif isinstance(count, tuple) and count[:2] == ("-", size) and isinstance(count[2], int):
        if rest := count[2] - begin:
            parts.append(sliced(graph, value, axis, -rest, rest))
    else:
        refuse(node, "writes to a slice whose end depends on the sizes of the inputs")
    return _joined(graph, parts, axis, size)


def _joined(graph: Graph, parts: Sequence[Value], axis: int, size: Dimension) -> Value:
    if len(parts) == 1:
        return parts[0]
    own = graph.shape(parts[0])
    shape = (*own[:axis], size, *own[axis + 1 :])
    return graph.append("concat", tuple(parts), shape, dtype=graph.dtype(parts[0]), settings=Axis(axis))


def put_into_index(graph: Graph, node: Node, x: Argument, source: Argument, dim: int, index: int) -> Value:
    """The source in the place of one index of a dimension."""
    shape = graph.result_shape(node)
    axis, size = dim % len(shape), shape[dim]
    if not isinstance(index, int) or (index < 0 and not isinstance(size, int)):
        refuse(node, "writes to an index that depends on the sizes of the inputs")
    one = graph.reshaped(graph.value(node, source), (*shape[:axis], 1, *shape[axis + 1 :]))
    return put_into_slice(graph, node, x, one, axis, index + int(str(size)) if index < 0 else index)


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
        pieces = _plus(count, each - 1)
        whole = sliced(graph, value, axis, 0, _times(pieces, step))
        cut = graph.reshaped(whole, (*before, pieces, step, *after))
        parts = [sliced(graph, cut, axis, i, count) for i in range(each)]
        return graph.permuted(_joined(graph, parts, axis + 1, length), to_the_end)
    one = (*before, count, 1, *after)
    parts = [graph.reshaped(sliced(graph, value, axis, i, count, step), one) for i in range(length)]
    return graph.permuted(_joined(graph, parts, axis + 1, length), to_the_end)


def _plus(size: Dimension, number: int) -> Dimension:
    return size + number if isinstance(size, int) else ("+", size, number) if number else size


def _times(size: Dimension, number: int) -> Dimension:
    return size * number if isinstance(size, int) else ("*", size, number) if number != 1 else size


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
            value = _joined(graph, parts, axis, size)
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
    "copy.default": copy,
    "slice_scatter.default": put_into_slice,
    "select_scatter.default": put_into_index,
    "unfold.default": windows,
    "diagonal.default": diagonal,
    "roll.default": roll,
    "flip.default": flip,
}

NEURONS: Mapping[str, str] = {}
