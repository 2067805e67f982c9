"""What becomes of the numbers along dimensions: sums, means, extremes and their places, norms, running sums."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from sparbor.ops.comparisons import cast_in_onnx
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import OnnxGraph
from sparbor.program.program import Axes, Axis, Operation


def _reduce_to_onnx(graph: OnnxGraph, operation: Operation, y: str, *, node: str) -> None:
    """Of what is true or false as whole numbers, because ONNX has no largest of those."""
    x, kind = graph.name_of(operation.inputs[0]), graph.program.values[operation.output].type
    axes = operation.settings_as(Axes).axes
    if kind == "bool":
        largest = graph.node(node, [cast_in_onnx(graph, x, "i32")], axes=axes, keepdims=1)
        cast_in_onnx(graph, largest, kind, y)
    elif node == "ReduceSum":
        graph.node(node, [x, graph.integers(f"{y}/axes", axes)], y, keepdims=1)
    else:
        graph.node(node, [x], y, axes=axes, keepdims=1)


def _place_to_onnx(graph: OnnxGraph, operation: Operation, y: str, *, node: str) -> None:
    x = graph.name_of(operation.inputs[0])
    if graph.program.values[operation.inputs[0]].type == "i64":
        x = graph.node("Cast", [x], to=11)  # double: ONNX Runtime looks for no largest i64
    graph.node(node, [x], y, axis=operation.settings_as(Axis).axis, keepdims=1)


def _running_sum_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    axis = graph.constant(f"{y}/axis", np.array(operation.settings_as(Axis).axis, np.int64))
    graph.node("CumSum", [graph.name_of(operation.inputs[0]), axis], y)


def _reduction(kind: str, node: str) -> Operator:
    return Operator(kind, partial(_reduce_to_onnx, node=node), None, settings=Axes)


OPERATORS = (
    _reduction("reduce_sum", "ReduceSum"),
    _reduction("reduce_mean", "ReduceMean"),
    _reduction("reduce_max", "ReduceMax"),
    _reduction("reduce_min", "ReduceMin"),
    _reduction("reduce_product", "ReduceProd"),
    _reduction("reduce_l2", "ReduceL2"),
    Operator("argmax", partial(_place_to_onnx, node="ArgMax"), None, settings=Axis),
    Operator("argmin", partial(_place_to_onnx, node="ArgMin"), None, settings=Axis),
    Operator("cumulative_sum", _running_sum_to_onnx, None, settings=Axis),
)

LOWERINGS: Mapping[str, Lowering] = {}
NEURONS: Mapping[str, str] = {}
