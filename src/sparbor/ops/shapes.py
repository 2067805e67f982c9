"""What moves numbers and changes none: reshapes, permutations, slices, expansion, concatenation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from sparbor.errors import ArgumentError
from sparbor.ops.arguments import Argument, Value
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph, Writer
from sparbor.program.program import Axis, Operation, Order, Padding, Slice

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
)


def reshape(graph: Graph, node: Node, x: Argument, *_: Argument) -> Value:
    """To the shape of the result, whose batch is the input's."""
    return graph.reshaped(graph.value(node, x), graph.result_shape(node))


def concatenate(graph: Graph, node: Node, inputs: Sequence[Argument], dim: int = 0) -> Value:
    """Along a dimension other than the batch."""
    values, shape = tuple(graph.value(node, each) for each in inputs), graph.result_shape(node)
    return (
        values[0] if len(values) == 1 else graph.append("concat", values, shape, settings=Axis(dim % (len(shape) + 1)))
    )


def permute(graph: Graph, node: Node, x: Argument, order: Sequence[int]) -> Value:
    """Dimensions in another order; the batch stays the first."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    rank = len(shape) + 1
    return graph.append("permute", (value,), shape, settings=Order(tuple(each % rank for each in order)))


def transpose(graph: Graph, node: Node, x: Argument, first: int, second: int) -> Value:
    """Two dimensions exchanged."""
    order = list(range(len(graph.result_shape(node)) + 1))
    order[first], order[second] = order[second], order[first]
    return permute(graph, node, x, order)


def slice_along(
    graph: Graph, node: Node, x: Argument, dim: int = 0, start: int | None = None, _: int | None = None, step: int = 1
) -> Value:
    """Indices of a dimension other than the batch; where the slice ends, the result's shape says."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    axis = dim % (len(shape) + 1)
    if graph.shapes[value] == shape:
        return value
    begin, _, _ = slice(start, None).indices(graph.shapes[value][axis - 1])  # from 0 on, as Python clamps it
    return graph.append("slice", (value,), shape, settings=Slice(axis, begin, step))


def select(graph: Graph, node: Node, x: Argument, dim: int, index: int) -> Value:
    """One index of a dimension, which goes."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    axis = dim % (len(shape) + 2)
    size = graph.shapes[value][axis - 1]
    one = (*shape[: axis - 1], 1, *shape[axis - 1 :])
    chosen = graph.append("slice", (value,), one, settings=Slice(axis, index % size, 1))
    return graph.reshaped(chosen, shape)


# To ONNX.


def _shape_to_onnx(graph: OnnxGraph, operation: Operation, y: str, *, node: str, batch: int) -> None:
    """To another shape; ``batch`` is the number with which the node leaves the size that is there, the batch's."""
    shape = graph.integers(f"{y}/shape", [batch, *graph.program.items[operation.output]])
    graph.node(node, [graph.name_of(operation.inputs[0]), shape], y)


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
    Operator("reshape", partial(_shape_to_onnx, node="Reshape", batch=0), _reshape_to_c),
    Operator("permute", _permute_to_onnx, None, settings=Order),
    Operator("slice", _slice_to_onnx, None, settings=Slice),
    Operator("expand", partial(_shape_to_onnx, node="Expand", batch=1), None),
    Operator("concat", _concat_to_onnx, _concat_to_c, inputs=None, settings=Axis),
    Operator("pad", _pad_to_onnx, None, settings=Padding),
)

LOWERINGS: Mapping[str, Lowering] = {
    "cat.default": concatenate,
    "permute.default": permute,
    "transpose.int": transpose,
    "slice.Tensor": slice_along,
    "select.int": select,
    **dict.fromkeys(RESHAPES, reshape),
}

NEURONS: Mapping[str, str] = {
    **dict.fromkeys(PASS_THROUGH, "number_by_number"),
    **dict.fromkeys(RESHAPES, "reshaped"),
}
