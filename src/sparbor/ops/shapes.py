"""What moves numbers and changes none: reshapes, permutations, slices, expansion, concatenation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.ops.arguments import Argument, Constant, Size, Value, refuse
from sparbor.ops.arrays import dimension_as_value
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph, Writer
from sparbor.program.program import Axis, Dimension, Operation, Order, Range, Slice, plus

if TYPE_CHECKING:
    from torch.fx import Node


# Operators that change no number.
PASS_THROUGH = (
    "clone.default",  # also a dropout that evaluates
    "alias.default",
    "detach.default",
    "lift_fresh_copy.default",
    "_assert_tensor_metadata.default",
)
RESHAPES = (
    "view.default",
    "reshape.default",
    "_unsafe_view.default",
    "squeeze.default",
    "squeeze.dim",
    "squeeze.dims",
    "unsqueeze.default",
    "unflatten.int",
    "flatten.using_ints",
    "view_as.default",
)


def reshape(graph: Graph, node: Node, x: Argument, *_: Any) -> Value:
    """To the shape of the result."""
    return graph.reshaped(graph.value(node, x), graph.result_shape(node))


def concatenate(graph: Graph, node: Node, inputs: Sequence[Argument], dim: int = 0) -> Value:
    """Along a dimension."""
    result = graph.result(node)
    given = [each for each in inputs if not (isinstance(each, Constant) and each.tensor.numel() == 0)]
    values = tuple(graph.cast(graph.value(node, each), result.type) for each in given)
    if len(values) == 1:
        return values[0]
    axis = Axis(dim % len(result.shape))
    return graph.append("concat", values, result.shape, dtype=result.type, settings=axis)


def joined(graph: Graph, parts: Sequence[Value], axis: int, size: Dimension) -> Value:
    """Values one after another along a dimension, which is of this size then."""
    if len(parts) == 1:
        return parts[0]
    own = graph.shape(parts[0])
    shape = (*own[:axis], size, *own[axis + 1 :])
    return graph.append("concat", tuple(parts), shape, dtype=graph.dtype(parts[0]), settings=Axis(axis))


def stack(graph: Graph, node: Node, inputs: Sequence[Argument], dim: int = 0) -> Value:
    """Along a new dimension."""
    shape = graph.result_shape(node)
    axis = dim % len(shape)
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    return concatenate(graph, node, [graph.reshaped(graph.value(node, each), one) for each in inputs], axis)


def permute(graph: Graph, node: Node, x: Argument, order: Sequence[int]) -> Value:
    """Dimensions in another order."""
    return graph.permuted(graph.value(node, x), order)


def transpose(graph: Graph, node: Node, x: Argument, first: int = 0, second: int = 1) -> Value:
    """Two dimensions exchanged."""
    order = list(range(len(graph.result_shape(node))))
    if order:
        order[first], order[second] = order[second], order[first]
    return permute(graph, node, x, order)


def sliced(graph: Graph, value: Value, axis: int, start: int, size: Dimension, step: int = 1) -> Value:
    """So many indices along a dimension, every `step`-th; a negative start is counted from the end."""
    shape = graph.shape(value)
    if shape[axis] == size and start == 0 and step == 1:
        return value
    new = (*shape[:axis], size, *shape[axis + 1 :])
    return graph.append("slice", (value,), new, dtype=graph.dtype(value), settings=Slice(axis, start, step))


def slice_along(
    graph: Graph,
    node: Node,
    x: Argument,
    dim: int = 0,
    start: int | Size | None = None,
    end: int | Size | None = None,
    step: int = 1,
) -> Value:
    """Indices of a dimension; where the slice ends, the result's shape says."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    axis = dim % len(shape)
    size, begin = graph.shape(value)[axis], start or 0
    if isinstance(begin, Size):
        source: Any = node.args[0]
        if begin.is_negative:
            begin = Size(source.meta["val"].shape[axis] + begin.symbol)
        return sliced_from(graph, value, axis, graph.dimensions(node, [begin])[0], shape[axis], step)
    first = slice(begin, None).indices(size)[0] if isinstance(size, int) else begin  # from 0 on, as Python clamps it
    return sliced(graph, value, axis, first, shape[axis], step)


def sliced_from(graph: Graph, value: Value, axis: int, begin: Dimension, size: Dimension, step: int = 1) -> Value:
    """So many indices along a dimension, from one on that may depend on the sizes of the inputs."""
    if isinstance(begin, int):
        return sliced(graph, value, axis, begin, size, step)
    if isinstance(begin, tuple) and begin[:2] == ("-", graph.shape(value)[axis]) and isinstance(begin[2], int):
        return sliced(graph, value, axis, -begin[2], size, step)
    places = graph.append("range", (), (size,), dtype="i64", settings=Range(0, step))
    first = graph.reshaped(dimension_as_value(graph, begin), (1,))
    return taken_at(graph, value, axis, graph.append("add", (places, first), (size,), dtype="i64"))


def select(graph: Graph, node: Node, x: Argument, dim: int, index: int | Size) -> Value:
    """One index of a dimension, which goes."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    begin = graph.dimensions(node, [index])[0] if isinstance(index, Size) else index
    return graph.reshaped(sliced_from(graph, value, dim % (len(shape) + 1), begin, 1), shape)


def split(graph: Graph, node: Node, x: Argument, *_: Any, dim: int = 0, **__: Any) -> list[Value]:
    """Parts one after another along a dimension."""
    value = graph.value(node, x)
    given = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", dim)
    assert isinstance(given, int)
    axis, parts = given % len(graph.shape(value)), []
    start: Dimension = 0
    for part in node.meta["val"]:
        size = graph.dimensions(node, part.shape)[axis]
        parts.append(sliced_from(graph, value, axis, start, size))
        start = plus(start, size)
    return parts


def unbind(graph: Graph, node: Node, x: Argument, dim: int = 0) -> list[Value]:
    """Each index of a dimension, which goes."""
    value = graph.value(node, x)
    axis = dim % len(graph.shape(value))
    return [
        graph.reshaped(sliced(graph, value, axis, index, 1), graph.dimensions(node, part.shape))
        for index, part in enumerate(node.meta["val"])
    ]


def expand(graph: Graph, node: Node, x: Argument, *_: Any, **__: Any) -> Value:
    """Repeated along dimensions of 1, to the shape of the result."""
    return graph.expanded(graph.value(node, x), graph.result_shape(node))


def repeat(graph: Graph, node: Node, x: Argument, times: Sequence[Any]) -> Value:
    """The whole of it so many times along each dimension."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    own = (*(1,) * (len(shape) - len(graph.shape(value))), *graph.shape(value))
    repeats = graph.dimensions(node, times)
    apart = tuple(size for each in own for size in (1, each))
    grown = tuple(size for pair in zip(repeats, own, strict=True) for size in pair)
    return graph.reshaped(graph.expanded(graph.reshaped(value, apart), grown), shape)


def repeat_each(graph: Graph, node: Node, x: Argument, times: int, dim: int | None = None, *_: Any, **__: Any) -> Value:
    """Each index of a dimension so many times."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    if dim is None or not isinstance(times, int):
        refuse(node, "repeats without a dimension, or as often as a tensor says")
    own = graph.shape(value)
    axis = dim % len(own)
    apart, grown = (*own[: axis + 1], 1, *own[axis + 1 :]), (*own[: axis + 1], times, *own[axis + 1 :])
    return graph.reshaped(graph.expanded(graph.reshaped(value, apart), grown), shape)


def taken(graph: Graph, value: Value, axis: int, places: Sequence[int]) -> Value:
    """These indices of a dimension, in this order."""
    return taken_at(graph, value, axis, graph.constant(np.array(places, np.int64)))


def taken_at(graph: Graph, value: Value, axis: int, places: Value) -> Value:
    """The indices of a dimension that a value holds, in its order."""
    own = graph.shape(value)
    shape = (*own[:axis], *graph.shape(places), *own[axis + 1 :])
    return graph.append("take", (value, places), shape, dtype=graph.dtype(value), settings=Axis(axis))


def pixel_shuffle(graph: Graph, node: Node, x: Argument, factor: int) -> Value:
    """Blocks of factor² channels become as many pixels."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    *around, _, height, width = graph.shape(value)
    rank, channels = len(around), shape[-3]
    apart = graph.reshaped(value, (*around, channels, factor, factor, height, width))
    order = [*range(rank), rank, rank + 3, rank + 1, rank + 4, rank + 2]
    return graph.reshaped(graph.permuted(apart, order), shape)


def pixel_unshuffle(graph: Graph, node: Node, x: Argument, factor: int) -> Value:
    """Blocks of factor x factor pixels become as many channels."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    *around, channels, _, _ = graph.shape(value)
    rank = len(around)
    apart = graph.reshaped(value, (*around, channels, shape[-2], factor, shape[-1], factor))
    order = [*range(rank), rank, rank + 2, rank + 4, rank + 1, rank + 3]
    return graph.reshaped(graph.permuted(apart, order), shape)


# To ONNX.


def _shape_to_onnx(graph: OnnxGraph, operation: Operation, y: str, *, node: str, same: int) -> None:
    """To another shape; ``same`` is the number with which the node leaves the first size that is there."""
    (first, *others), x = graph.program.values[operation.output].shape or (None,), operation.inputs[0]
    before = graph.program.values[x].shape
    numbers = [each for each in others if isinstance(each, int)]
    if before and first == before[0] and len(numbers) == len(others):
        shape = graph.integers(f"{y}/shape", [same, *numbers])
    else:
        shape = graph.shape(f"{y}/shape", graph.program.values[operation.output].shape)
    graph.node(node, [graph.name_of(x), shape], y)


def _permute_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    graph.node("Transpose", [graph.name_of(operation.inputs[0])], y, perm=operation.settings_as(Order).order)


def _slice_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Up to behind the last index, which ONNX calls the end."""
    slice_ = operation.settings_as(Slice)
    size: Dimension = graph.program.values[operation.output].shape[slice_.axis]
    start, step = slice_.start, slice_.step
    if isinstance(size, int):
        end = start + (size - 1) * step + 1
        ends = graph.integers(f"{y}/ends", [end if start >= 0 or end < 0 else np.iinfo(np.int64).max])
    elif start < 0:  # up to the end: it is counted from there
        ends = graph.integers(f"{y}/ends", [np.iinfo(np.int64).max])
    else:
        ends = graph.shape(f"{y}/ends", (("+", ("*", ("-", size, 1), step), start + 1),))
    starts, axes, steps = (
        graph.integers(f"{y}/{name}", [number])
        for name, number in {"starts": start, "axes": slice_.axis, "steps": step}.items()
    )
    graph.node("Slice", [graph.name_of(operation.inputs[0]), starts, ends, axes, steps], y)


def _concat_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    graph.node("Concat", [graph.name_of(value) for value in operation.inputs], y, axis=operation.settings_as(Axis).axis)


# To C.


def _reshape_to_c(_: Writer, __: int, ___: Operation) -> None:
    """Nothing moves: no row is padded."""


def _permute_to_c(writer: Writer, number: int, operation: Operation) -> None:
    """Of an item's numbers: whose item they are must not change."""
    first, *others = operation.settings_as(Order).order
    if first != 0 or writer.program.values[operation.output].type != "f32":
        kind = writer.program.values[operation.output].type
        raise ArgumentError(
            f"a permutation of {kind} to the order {(first, *others)} cannot be exported to C: only of f32, whose batch"
            " stays first"
        )
    shape = writer.program.items[operation.inputs[0]]
    steps = np.array([math.prod(shape[axis:]) for axis in others], np.uint32)  # axis counts the batch, shape does not
    sizes = np.array(writer.program.items[operation.output], np.uint32)
    names = writer.array(f"sizes{number}", sizes), writer.array(f"steps{number}", steps)
    x, y = writer.x_and_y(operation)
    writer.call("permute", x, *names, len(others), math.prod(shape), y)


def _concat_to_c(writer: Writer, _: int, operation: Operation) -> None:
    if (axis := operation.settings_as(Axis).axis) != 1:
        raise ArgumentError(f"a concatenation along dimension {axis} cannot be exported to C: only along 1")
    start = 0
    for value in operation.inputs:
        count = math.prod(writer.program.items[value])
        writer.copy(writer.place(value), f"{writer.place(operation.output)} + {start}", count)
        start += count


OPERATORS = (
    Operator("reshape", partial(_shape_to_onnx, node="Reshape", same=0), _reshape_to_c),
    Operator("permute", _permute_to_onnx, _permute_to_c, settings=Order),
    Operator("slice", _slice_to_onnx, None, settings=Slice),
    Operator("expand", partial(_shape_to_onnx, node="Expand", same=1), None),
    Operator("concat", _concat_to_onnx, _concat_to_c, inputs=None, settings=Axis),
)

LOWERINGS: Mapping[str, Lowering] = {
    "cat.default": concatenate,
    "stack.default": stack,
    "permute.default": permute,
    "transpose.int": transpose,
    "t.default": transpose,
    "slice.Tensor": slice_along,
    "select.int": select,
    "split.Tensor": split,
    "split_with_sizes.default": split,
    "chunk.default": split,
    "unbind.int": unbind,
    "expand.default": expand,
    "expand_as.default": expand,
    "repeat.default": repeat,
    "repeat_interleave.self_int": repeat_each,
    "pixel_shuffle.default": pixel_shuffle,
    "pixel_unshuffle.default": pixel_unshuffle,
    **dict.fromkeys(RESHAPES, reshape),
}

NEURONS: Mapping[str, str] = {
    **dict.fromkeys(PASS_THROUGH, "number_by_number"),
    **dict.fromkeys(RESHAPES, "reshaped"),
}
