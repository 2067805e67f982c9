"""Values that are computed of no others: constants, and whole numbers at equal distances."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import OnnxGraph
from sparbor.program.program import ConstantArray, Dimension, Operation, Range

_COMPUTED = {"+": "Add", "*": "Mul", "//": "Div"}


def _constant_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    layer = graph.program.layers[str(operation.layer)]
    assert isinstance(layer, ConstantArray)
    graph.node("Identity", [graph.constant(f"{operation.layer}/values", layer.values)], y)


def _range_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """From the first to where one more would be."""
    settings = operation.settings_as(Range)
    count = _number_of(graph, graph.program.values[operation.output].shape[0])
    places = graph.node("Range", [_whole(graph, 0), count, _whole(graph, 1)])
    apart = graph.node("Mul", [places, _whole(graph, settings.step)])
    graph.node("Add", [apart, _whole(graph, settings.start)], y)


def _number_of(graph: OnnxGraph, dimension: Dimension) -> str:
    """The name of one i64: the size that this dimension has when the model runs."""
    if isinstance(dimension, int):
        return _whole(graph, dimension)
    if isinstance(dimension, tuple):
        operator, *sizes = dimension
        return graph.node(_COMPUTED[operator], [_number_of(graph, size) for size in sizes])
    for port in graph.program.inputs:
        shape = graph.program.values[port.value].shape
        if dimension in shape:
            sizes_of = graph.node("Shape", [graph.name_of(port.value)])
            return graph.node("Gather", [sizes_of, _whole(graph, shape.index(dimension))])
    raise AssertionError(f"no input has the size {dimension}")  # which the engine has refused


def _whole(graph: OnnxGraph, number: int) -> str:
    return graph.constant(f"whole_{number}", np.array(number, np.int64))


OPERATORS = (
    Operator("constant", _constant_to_onnx, None, inputs=0, layer="yes"),
    Operator("range", _range_to_onnx, None, inputs=0, settings=Range),
)

LOWERINGS: Mapping[str, Lowering] = {}
NEURONS: Mapping[str, str] = {}
