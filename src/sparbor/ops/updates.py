"""Values of which some numbers are replaced, as a cache of which a call writes the newest rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparbor.ops.arguments import Argument, Size, Value, refuse
from sparbor.ops.arithmetic import alike, broadcast, of_two
from sparbor.ops.arrays import dimension_as_value, size_as_value
from sparbor.ops.comparisons import where
from sparbor.ops.indexing import whole
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph
from sparbor.program.program import Axis, Dimension, Dimensions, Operation, Range, times

if TYPE_CHECKING:
    from torch.fx import Node


# From PyTorch.


def index_copy(graph: Graph, node: Node, x: Argument, dim: int, places: Argument, updates: Argument) -> Value:
    """Indices of a dimension, replaced."""
    value = graph.value(node, x)
    axis = dim % max(1, len(graph.shape(value)))
    return _put(graph, node, value, axis, [_row(graph, graph.value(node, places))], updates)


def index_fill(graph: Graph, node: Node, x: Argument, dim: int, places: Argument, number: Argument) -> Value:
    """Indices of a dimension, replaced by one number."""
    value = graph.value(node, x)
    shape, row = graph.shape(value), _row(graph, graph.value(node, places))
    axis = dim % max(1, len(shape))
    wanted = (*shape[:axis], *graph.shape(row), *shape[axis + 1 :])
    return _put(graph, node, value, axis, [row], graph.expanded(_typed(graph, node, number, value), wanted))


def index_put(
    graph: Graph, node: Node, x: Argument, given: Sequence[Argument], updates: Argument, accumulate: bool = False
) -> Value:
    """x[:, i, j] = updates: indices of neighbouring dimensions, broadcast to one shape; or x[mask] = number."""
    value = graph.value(node, x)
    if accumulate:
        refuse(node, "adds to what it replaces")
    axes = [axis for axis, each in enumerate(given) if each is not None]
    if axes != list(range(axes[0], axes[0] + len(axes))):
        refuse(node, "replaces at indices of dimensions that are apart")
    indices = [graph.value(node, given[axis]) for axis in axes]
    if any(graph.dtype(each) in ("bool", "u8") for each in indices):
        return _put_where(graph, node, value, indices, updates)
    places = alike(graph, node, indices, "i64")
    common = broadcast(graph, node, places)
    shape = graph.shape(value)
    rows = [
        _row(graph, _from_the_front(graph, node, graph.expanded(each, common), shape[axis]))
        for each, axis in zip(places, axes, strict=True)
    ]
    wanted = (*shape[: axes[0]], *common, *shape[axes[-1] + 1 :])
    return _put(graph, node, value, axes[0], rows, graph.expanded(_typed(graph, node, updates, value), wanted))


def _put_where(graph: Graph, node: Node, value: Value, indices: list[Value], updates: Argument) -> Value:
    """Where a mask over the first dimensions holds, one number."""
    (mask, *others), new = indices, _typed(graph, node, updates, value)
    if others or any(size != 1 for size in graph.shape(new)):
        refuse(node, "replaces as many numbers as a mask holds, which a deployed model cannot know")
    missing = len(graph.shape(value)) - len(graph.shape(mask))
    return where(
        graph, node, graph.reshaped(mask, (*graph.shape(mask), *(1,) * missing)), graph.reshaped(new, ()), value
    )


def slice_scatter(
    graph: Graph,
    node: Node,
    x: Argument,
    updates: Argument,
    dim: int = 0,
    start: int | Size | None = None,
    end: int | Size | None = None,
    step: int = 1,
) -> Value:
    """A slice of a dimension, replaced; where it ends, the shape of what comes there says."""
    value, new = graph.value(node, x), _typed(graph, node, updates, graph.value(node, x))
    axis = dim % len(graph.shape(value))
    size, count = graph.shape(value)[axis], graph.shape(new)[axis]
    if size == count and step == 1:
        return new
    first: int | Size = 0 if start is None else start
    if isinstance(first, int) and first < 0:
        if not isinstance(size, int):
            refuse(node, "replaces a slice that is counted from the end of a dimension of any size")
        first = max(0, first + size)
    begin = 0 if isinstance(first, Size) else first
    places = graph.append("range", (), (count,), dtype="i64", settings=Range(begin, step))
    if isinstance(first, Size):
        shift = graph.reshaped(size_as_value(graph, node, first), (1,))
        places = graph.append("add", (places, shift), (count,), dtype="i64")
    return _put(graph, node, value, axis, [places], new)


def select_scatter(graph: Graph, node: Node, x: Argument, updates: Argument, dim: int, index: int | Size) -> Value:
    """One index of a dimension, replaced."""
    value = graph.value(node, x)
    shape = graph.shape(value)
    axis = dim % len(shape)
    place = _index(graph, node, index, shape[axis])
    new = _typed(graph, node, updates, value)
    return _put(graph, node, value, axis, [place], graph.reshaped(new, (*shape[:axis], 1, *shape[axis + 1 :])))


def copy(graph: Graph, node: Node, x: Argument, new: Argument, *_: Any) -> Value:
    """All of it, replaced."""
    value = graph.value(node, x)
    return graph.expanded(_typed(graph, node, new, value), graph.shape(value))


def _put(graph: Graph, node: Node, value: Value, axis: int, places: Sequence[Value], updates: Argument) -> Value:
    shape, dtype = graph.shape(value), graph.dtype(value)
    (count,) = graph.shape(places[0])
    wanted: Dimensions = (*shape[:axis], count, *shape[axis + len(places) :])
    new = graph.reshaped(_typed(graph, node, updates, value), wanted)
    return graph.append("put", (value, new, *places), shape, dtype=dtype, settings=Axis(axis))


def _typed(graph: Graph, node: Node, new: Argument, value: Value) -> Value:
    """What is to come into the value, in its type."""
    return graph.cast(graph.value(node, new), graph.dtype(value))


def _row(graph: Graph, places: Value) -> Value:
    """Indices one after another."""
    count: Dimension = 1
    for size in graph.shape(places):
        count = times(count, size)
    return whole(graph, graph.reshaped(places, (count,)))


def _from_the_front(graph: Graph, node: Node, places: Value, size: Dimension) -> Value:
    """Indices counted from the end, which are negative, as those from the front."""
    shape = graph.shape(places)
    rank = (1,) * len(shape)
    zero = graph.reshaped(graph.constant(np.array(0)), rank)
    negative = graph.append("less", (places, zero), shape, dtype="bool")
    moved = of_two(graph, node, "add", places, dimension_as_value(graph, size), "i64")
    return graph.append("where", (negative, moved, places), shape, dtype="i64")


def _index(graph: Graph, node: Node, index: int | Size, size: Dimension) -> Value:
    """One index as a row, counted from the front."""
    if isinstance(index, Size):
        return graph.reshaped(size_as_value(graph, node, index), (1,))
    if index < 0:
        if not isinstance(size, int):
            refuse(node, "replaces an index that is counted from the end of a dimension of any size")
        index += size
    return graph.constant(np.array([index]))


# To ONNX.


def _put_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Of the dimensions that have indices, brought to the front, and then back."""
    x, updates, *places = map(graph.name_of, operation.inputs)
    axis = operation.settings_as(Axis).axis
    rank = len(graph.program.values[operation.output].shape)
    columns = [graph.node("Unsqueeze", [place, graph.integers("last", [-1])]) for place in places]
    indices = graph.node("Concat", columns, axis=-1)
    indices = graph.node("Cast", [indices], to=7)  # int64
    if axis == 0:
        graph.node("ScatterND", [x, indices, updates], y)
        return
    replaced = list(range(axis, axis + len(places)))
    order = [*replaced, *(each for each in range(rank) if each not in replaced)]
    others = [each for each in range(rank - len(places) + 1) if each != axis]
    turned = graph.node("Transpose", [x], perm=order)
    new = graph.node("Transpose", [updates], perm=[axis, *others])
    scattered = graph.node("ScatterND", [turned, indices, new])
    graph.node("Transpose", [scattered], y, perm=[order.index(each) for each in range(rank)])


OPERATORS = (Operator("put", _put_to_onnx, None, inputs=(3, 11), settings=Axis),)

LOWERINGS: Mapping[str, Lowering] = {
    "index_copy.default": index_copy,
    "index_fill.int_Scalar": index_fill,
    "index_fill.int_Tensor": index_fill,
    "index_put.default": index_put,
    "_unsafe_index_put.default": index_put,
    "slice_scatter.default": slice_scatter,
    "select_scatter.default": select_scatter,
    "copy.default": copy,
}

NEURONS: Mapping[str, str] = {}
