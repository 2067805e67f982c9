"""Values that are computed of no others: constants, and whole numbers at equal distances."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sparbor.ops.arguments import Argument, Size, Value, refuse
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph
from sparbor.program.program import DTYPES, ConstantArray, Dimension, Operation, Range, Slice

if TYPE_CHECKING:
    from torch.fx import Node


# From PyTorch.


def size_as_value(graph: Graph, node: Node, size: Size) -> Value:
    """A size of the inputs as a number."""
    return dimension_as_value(graph, *graph.dimensions(node, [size]))


def dimension_as_value(graph: Graph, dimension: Dimension) -> Value:
    """A dimension as a number, which may be 0: the last one of a range from 0 on that is one longer."""
    if isinstance(dimension, int):
        return graph.constant(np.array(dimension))
    places = graph.append("range", (), (("+", dimension, 1),), dtype="i64", settings=Range(0, 1))
    last = graph.append("slice", (places,), (1,), dtype="i64", settings=Slice(0, -1, 1))
    return graph.reshaped(last, ())


def arange(graph: Graph, node: Node, *given: Any, **_: Any) -> Value:
    """Whole numbers from the start on; how many, the result's shape says."""
    result = graph.result(node)
    start, step = (given[0] if len(given) > 1 else 0), (given[2] if len(given) > 2 else 1)
    first: Argument = start
    if not isinstance(step, int) or not isinstance(start, (int, Size)):
        refuse(node, "is a range of other numbers than whole ones")
    if isinstance(start, Size):
        (dimension,) = graph.dimensions(node, [start])
        start, first = (dimension, None) if isinstance(dimension, int) else (0, start)
    else:
        first = None
    values = graph.append("range", (), result.shape, dtype="i64", settings=Range(start, step))
    if first is not None:
        shift = graph.reshaped(size_as_value(graph, node, first), (1,))
        values = graph.append("add", (values, shift), result.shape, dtype="i64")
    return graph.cast(values, result.type)


def full(graph: Graph, node: Node, *given: Any, number: Any = None, at: int = 1, **_: Any) -> Value:
    """One number everywhere; it is the argument at that place if it is not always the same."""
    result = graph.result(node)
    number = given[at] if number is None else number
    if isinstance(number, Size):
        value = graph.cast(size_as_value(graph, node, number), result.type)
    elif isinstance(number, Value):
        value = graph.cast(number, result.type)
    else:
        value = graph.constant(np.array(number, DTYPES[result.type]))
    return graph.expanded(value, result.shape)


def scalar(graph: Graph, node: Node, number: Argument, **_: Any) -> Value:
    """A number as an array without dimensions."""
    return graph.cast(graph.value(node, number), graph.result(node).type)


# To ONNX.


def _constant_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    layer = graph.program.layers[str(operation.layer)]
    assert isinstance(layer, ConstantArray)
    graph.node("Identity", [graph.constant(f"{operation.layer}/values", layer.values)], y)


def _range_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """From the first to where one more would be."""
    settings = operation.settings_as(Range)
    count = graph.size(graph.program.values[operation.output].shape[0])
    places = graph.node("Range", [graph.whole(0), count, graph.whole(1)])
    apart = graph.node("Mul", [places, graph.whole(settings.step)])
    graph.node("Add", [apart, graph.whole(settings.start)], y)


OPERATORS = (
    Operator("constant", _constant_to_onnx, None, inputs=0, layer="yes"),
    Operator("range", _range_to_onnx, None, inputs=0, settings=Range),
)

LOWERINGS: Mapping[str, Lowering] = {
    "arange.default": arange,
    "arange.start": arange,
    "arange.start_step": arange,
    "full.default": full,
    "full_like.default": full,
    "new_full.default": partial(full, at=2),
    "scalar_tensor.default": scalar,
    **dict.fromkeys(("zeros.default", "zeros_like.default", "new_zeros.default"), partial(full, number=0)),
    **dict.fromkeys(("ones.default", "ones_like.default", "new_ones.default"), partial(full, number=1)),
    **dict.fromkeys(("empty.memory_format", "empty_like.default", "new_empty.default"), partial(full, number=0)),
}

NEURONS: Mapping[str, str] = {}
