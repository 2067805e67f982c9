"""What is put around values: zeros, other numbers, or the value's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sparbor.ops.arguments import Argument, Padded, Value
from sparbor.ops.arithmetic import of_two
from sparbor.ops.arrays import dimension_as_value
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.shapes import joined, sliced, taken, taken_at
from sparbor.ops.targets import Graph, OnnxGraph
from sparbor.program.program import Dimension, Operation, Padding, Range, Slice, plus

if TYPE_CHECKING:
    from torch.fx import Node


# From PyTorch.


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
        value, around = _cropped(graph, value, axis, sides[i], sides[i + 1])
        own = graph.shape(value)
        filler = graph.cast(graph.value(node, number), graph.dtype(value))
        before, after = ([graph.expanded(filler, (*own[:axis], n, *own[axis + 1 :]))] if n else [] for n in around)
        value = joined(graph, (*before, value, *after), axis, graph.result_shape(node)[axis])
    return value


def _cropped(graph: Graph, value: Value, axis: int, before: int, after: int) -> tuple[Value, tuple[int, int]]:
    """The value without what negative sides take away, and the other sides."""
    if min(before, after) < 0:
        size = graph.shape(value)[axis]
        left = max(0, -before), max(0, -after)
        rest = size - sum(left) if isinstance(size, int) else ("-", size, sum(left))
        value = sliced(graph, value, axis, left[0], rest)
    return value, (max(0, before), max(0, after))


def _own_numbers_around(graph: Graph, node: Node, value: Value, sides: Sequence[int], mode: str) -> Value:
    """Reflected, repeated from the edge, or from the other side."""
    for i in range(0, len(sides), 2):
        before, after = sides[i], sides[i + 1]
        axis = len(graph.shape(value)) - 1 - i // 2
        size = graph.shape(value)[axis]
        if not (before or after):
            continue
        if isinstance(size, int):
            places = np.pad(np.arange(size), (before, after), _NUMPY_MODES[mode])
            value = taken(graph, value, axis, places.tolist())
        else:
            value = taken_at(graph, value, axis, _places_around(graph, node, size, before, after, mode))
    return value


_NUMPY_MODES: Mapping[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _places_around(graph: Graph, node: Node, size: Dimension, before: int, after: int, mode: str) -> Value:
    """Indices from before the first one to behind the last one, as those whose numbers stand there."""
    count = ("+", size, before + after)
    places = graph.append("range", (), (count,), dtype="i64", settings=Range(-before, 1))
    compute = partial(of_two, graph, node, dtype="i64")
    length = dimension_as_value(graph, size)
    if mode == "circular":
        return compute("remainder", places, length)
    last = compute("subtract", length, 1)
    if mode == "replicate":
        return compute("minimum", compute("maximum", places, 0), last)
    return compute("subtract", last, _distance(compute, last, _distance(compute, places, 0)))


def _distance(compute: Callable[..., Value], one: Argument, other: Argument) -> Value:
    """|one − other|."""
    return compute("maximum", compute("subtract", one, other), compute("subtract", other, one))


def padded(graph: Graph, what: Padded) -> Value:
    """Zeros around a value, where no convolution takes them in."""
    value = what.value
    shape = list(graph.shape(value))
    before, after = [0] * len(shape), [0] * len(shape)
    kept = []  # of dimensions, the part that is the result: where it begins, and its size
    for i in range(0, len(what.sides), 2):
        axis = len(shape) - 1 - i // 2
        value, around = _cropped(graph, value, axis, *what.sides[i : i + 2])
        size = plus(graph.shape(value)[axis], sum(around))
        value, start = _before_slicing(graph, value, axis, around)
        kept.append((axis, start, size))
        before[axis], after[axis] = around
        shape[axis] = plus(graph.shape(value)[axis], sum(around))
    if any(before) or any(after):
        settings = Padding(tuple(before), tuple(after))
        value = graph.append("pad", (value,), tuple(shape), dtype=graph.dtype(value), settings=settings)
    for axis, start, size in kept:
        value = sliced(graph, value, axis, start, size)
    return value


def _before_slicing(graph: Graph, value: Value, axis: int, around: tuple[int, int]) -> tuple[Value, int]:
    """What the value is a slice of, and where that begins, if the padding may as well come first.

    So rows are shifted by ``pad(x[:, 1:], (0, 0, 0, 1))``: of one row nothing would be left between the two.
    """
    made, size = graph.maker(value), graph.shape(value)[axis]
    if made is None or made.kind != "slice" or isinstance(size, int) or not any(around):
        return value, 0
    (source,), by = made.inputs, made.settings_as(Slice)
    to_the_end = size == ("-", graph.shape(Value(source))[axis], by.start)
    if by.axis == axis and by.step == 1 and ((to_the_end and not around[0]) or (by.start == 0 and not around[1])):
        return Value(source), by.start
    return value, 0


# To ONNX.


def _pad_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    padding = operation.settings_as(Padding)
    pads = graph.integers(f"{y}/pads", [*padding.before, *padding.after])
    graph.node("Pad", [graph.name_of(operation.inputs[0]), pads], y)


OPERATORS = (Operator("pad", _pad_to_onnx, None, settings=Padding),)

LOWERINGS: Mapping[str, Lowering] = {
    "pad.default": pad,
    "constant_pad_nd.default": lambda graph, node, x, sides, value=0: pad(graph, node, x, sides, "constant", value),
}

NEURONS: Mapping[str, str] = dict.fromkeys(LOWERINGS, "padded")
