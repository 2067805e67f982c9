"""What moves numbers and changes none: reshapes, permutations, slices, expansion, concatenation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.ops.arguments import Argument, Constant, Padded, Size, Value, refuse
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph, Writer
from sparbor.program.program import Axis, Dimension, Operation, Order, Padding, Slice

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
    return sliced(graph, value, axis, _start(graph, node, start, graph.shape(value)[axis]), shape[axis], step)


def _start(graph: Graph, node: Node, start: int | Size | None, size: Dimension) -> int:
    """Where a slice begins, as the engine takes it: a negative number is counted from the end."""
    if isinstance(start, Size):
        (begin,) = graph.dimensions(node, [start])
        if isinstance(begin, int):
            return begin
        if isinstance(begin, tuple) and begin[:2] == ("-", size) and isinstance(begin[2], int):
            return -begin[2]
        refuse(node, "slices from an index that depends on the sizes of the inputs")
    begin = start or 0
    return slice(begin, None).indices(size)[0] if isinstance(size, int) else begin  # from 0 on, as Python clamps it


def select(graph: Graph, node: Node, x: Argument, dim: int, index: int) -> Value:
    """One index of a dimension, which goes."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    if isinstance(index, Size):
        refuse(node, "selects an index that depends on the sizes of the inputs")
    return graph.reshaped(sliced(graph, value, dim % (len(shape) + 1), index, 1), shape)


def split(graph: Graph, node: Node, x: Argument, *_: Any, dim: int = 0, **__: Any) -> list[Value]:
    """Parts one after another along a dimension."""
    value = graph.value(node, x)
    given = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", dim)
    assert isinstance(given, int)
    axis, start, parts = given % len(graph.shape(value)), 0, []
    for part in node.meta["val"]:
        size = graph.dimensions(node, part.shape)[axis]
        if not isinstance(size, int):
            refuse(node, "splits a dimension whose size depends on the inputs")
        parts.append(sliced(graph, value, axis, start, size))
        start += size
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


def roll(graph: Graph, node: Node, x: Argument, shifts: Sequence[int], dims: Sequence[int] = ()) -> Value:
    """Indices moved along dimensions, those that fall out at the end put in at the beginning."""
    value = graph.value(node, x)
    shape = graph.shape(value)
    for shift, dim in zip(shifts, dims, strict=True):
        axis = dim % len(shape)
        size = shape[axis]
        if not isinstance(size, int):
            refuse(node, "rolls a dimension whose size depends on the inputs")
        if first := -shift % size:
            parts = sliced(graph, value, axis, first, size - first), sliced(graph, value, axis, 0, first)
            value = graph.append("concat", parts, shape, dtype=graph.dtype(value), settings=Axis(axis))
    return value


def taken(graph: Graph, value: Value, axis: int, places: Sequence[int]) -> Value:
    """These indices of a dimension, in this order."""
    own = graph.shape(value)
    shape = (*own[:axis], len(places), *own[axis + 1 :])
    indices = graph.constant(np.array(places, np.int64))
    return graph.append("take", (value, indices), shape, dtype=graph.dtype(value), settings=Axis(axis))


def flip(graph: Graph, node: Node, x: Argument, dims: Sequence[int]) -> Value:
    """The other way round along dimensions."""
    value = graph.value(node, x)
    for dim in dims:
        axis = dim % len(graph.shape(value))
        size = graph.shape(value)[axis]
        if not isinstance(size, int):
            refuse(node, "flips a dimension whose size depends on the inputs")
        value = taken(graph, value, axis, range(size)[::-1])
    return value


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


def pad(
    graph: Graph,
    node: Node,
    x: Argument,
    sides: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> Argument:
    """Around the last dimensions: zeros, which a convolution behind takes in, other numbers, or the value's own."""
    inner = graph.value(node, x)
    if not any(sides):
        return inner
    if mode == "constant" and not value:
        return Padded(inner, tuple(sides))
    if mode != "constant":
        return _own_numbers_around(graph, node, inner, sides, mode)
    return _number_around(graph, node, inner, sides, float(value or 0))


def _number_around(graph: Graph, node: Node, value: Value, sides: Sequence[int], number: float) -> Value:
    """Dimension by dimension, the last first."""
    for i in range(0, len(sides), 2):
        axis = len(graph.shape(value)) - 1 - i // 2
        value, around = _cropped(graph, node, value, axis, sides[i], sides[i + 1])
        own = graph.shape(value)
        filler = graph.cast(graph.value(node, number), graph.dtype(value))
        before, after = ([graph.expanded(filler, (*own[:axis], n, *own[axis + 1 :]))] if n else [] for n in around)
        parts = (*before, value, *after)
        if len(parts) > 1:
            size = graph.dimensions(node, node.meta["val"].shape)[axis]
            shape = (*own[:axis], size, *own[axis + 1 :])
            value = graph.append("concat", parts, shape, dtype=graph.dtype(value), settings=Axis(axis))
    return value


def _cropped(
    graph: Graph, node: Node, value: Value, axis: int, before: int, after: int
) -> tuple[Value, tuple[int, int]]:
    """The value without what negative sides take away, and the other sides."""
    if min(before, after) < 0:
        size = graph.shape(value)[axis]
        left = max(0, -before), max(0, -after)
        if not isinstance(size, int):
            refuse(node, "crops a dimension whose size depends on the inputs")
        value = sliced(graph, value, axis, left[0], size - sum(left))
    return value, (max(0, before), max(0, after))


def _own_numbers_around(graph: Graph, node: Node, value: Value, sides: Sequence[int], mode: str) -> Value:
    """Reflected, repeated from the edge, or from the other side."""
    for i in range(0, len(sides), 2):
        before, after = sides[i], sides[i + 1]
        axis = len(graph.shape(value)) - 1 - i // 2
        size = graph.shape(value)[axis]
        if not (before or after):
            continue
        if not isinstance(size, int):
            refuse(node, f"pads a dimension whose size depends on the inputs, with mode {mode!r}")
        places = np.pad(np.arange(size), (before, after), _NUMPY_MODES[mode])
        value = taken(graph, value, axis, places.tolist())
    return value


_NUMPY_MODES: Mapping[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def padded(graph: Graph, what: Padded) -> Value:
    """Zeros around a value, where no convolution takes them in."""
    value = what.value
    shape = list(graph.shape(value))
    before, after = [0] * len(shape), [0] * len(shape)
    for i in range(0, len(what.sides), 2):
        axis = len(shape) - 1 - i // 2
        size = shape[axis]
        if min(what.sides[i : i + 2]) < 0:
            taken_away = max(0, -what.sides[i]), max(0, -what.sides[i + 1])
            rest = size - sum(taken_away) if isinstance(size, int) else ("-", size, sum(taken_away))
            value = sliced(graph, value, axis, taken_away[0], rest)
            size = rest
        before[axis], after[axis] = max(0, what.sides[i]), max(0, what.sides[i + 1])
        more = before[axis] + after[axis]
        shape[axis] = size + more if isinstance(size, int) else ("+", size, more) if more else size
    if not any(before) and not any(after):
        return value
    settings = Padding(tuple(before), tuple(after))
    return graph.append("pad", (value,), tuple(shape), dtype=graph.dtype(value), settings=settings)


# To ONNX.


def _shape_to_onnx(graph: OnnxGraph, operation: Operation, y: str, *, node: str, kept: int) -> None:
    """To another shape; ``kept`` is the number with which the node leaves a size as it is at that place."""
    given, shape = (graph.program.values[each].shape for each in (operation.inputs[0], operation.output))
    known = [kept if given[at : at + 1] == (size,) else -1 for at, size in enumerate(shape)]
    sizes = [size if isinstance(size, int) else place for size, place in zip(shape, known, strict=True)]
    if sizes.count(-1) > (node == "Reshape"):
        raise ArgumentError(f"{operation.kind!r} to {shape} cannot be exported to ONNX: fix all sizes but the batch")
    graph.node(node, [graph.name_of(operation.inputs[0]), graph.integers(f"{y}/shape", sizes)], y)


def _permute_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    graph.node("Transpose", [graph.name_of(operation.inputs[0])], y, perm=operation.settings_as(Order).order)


def _slice_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Up to behind the last index, which ONNX calls the end."""
    slice_ = operation.settings_as(Slice)
    size = graph.program.values[operation.output].shape[slice_.axis]
    if not isinstance(size, int) or slice_.start < 0:
        raise ArgumentError("a slice along a dimension of any size cannot be exported to ONNX yet: fix the size")
    ends = slice_.start + (size - 1) * slice_.step + 1
    parts = {"starts": slice_.start, "ends": ends, "axes": slice_.axis, "steps": slice_.step}
    names = [graph.integers(f"{y}/{name}", [number]) for name, number in parts.items()]
    graph.node("Slice", [graph.name_of(operation.inputs[0]), *names], y)


def _concat_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    graph.node("Concat", [graph.name_of(value) for value in operation.inputs], y, axis=operation.settings_as(Axis).axis)


def _pad_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    padding = operation.settings_as(Padding)
    pads = graph.integers(f"{y}/pads", [*padding.before, *padding.after])
    graph.node("Pad", [graph.name_of(operation.inputs[0]), pads], y)


# To C.


def _reshape_to_c(_: Writer, __: int, ___: Operation) -> None:
    """Nothing moves: no row is padded."""


def _concat_to_c(writer: Writer, _: int, operation: Operation) -> None:
    if (axis := operation.settings_as(Axis).axis) != 1:
        raise ArgumentError(f"a concatenation along dimension {axis} cannot be exported to C: only along 1")
    start = 0
    for value in operation.inputs:
        count = math.prod(writer.program.items[value])
        writer.copy(writer.place(value), f"{writer.place(operation.output)} + {start}", count)
        start += count


OPERATORS = (
    Operator("reshape", partial(_shape_to_onnx, node="Reshape", kept=0), _reshape_to_c),
    Operator("permute", _permute_to_onnx, None, settings=Order),
    Operator("slice", _slice_to_onnx, None, settings=Slice),
    Operator("expand", partial(_shape_to_onnx, node="Expand", kept=1), None),
    Operator("concat", _concat_to_onnx, _concat_to_c, inputs=None, settings=Axis),
    Operator("pad", _pad_to_onnx, None, settings=Padding),
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
    "roll.default": roll,
    "flip.default": flip,
    "pixel_shuffle.default": pixel_shuffle,
    "pixel_unshuffle.default": pixel_unshuffle,
    "pad.default": pad,
    "constant_pad_nd.default": lambda graph, node, x, sides, value=0: pad(graph, node, x, sides, "constant", value),
    **dict.fromkeys(RESHAPES, reshape),
}

NEURONS: Mapping[str, str] = {
    **dict.fromkeys(PASS_THROUGH, "number_by_number"),
    **dict.fromkeys(RESHAPES, "reshaped"),
    **dict.fromkeys(("pad.default", "constant_pad_nd.default"), "padded"),
}
