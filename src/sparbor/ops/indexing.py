"""What chooses numbers by indices: along a dimension of a value, and rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import OnnxGraph
from sparbor.packing.tables import Table
from sparbor.program.program import Axis, Operation


def _choose_to_onnx(graph: OnnxGraph, operation: Operation, y: str, *, node: str) -> None:
    graph.node(node, [graph.name_of(value) for value in operation.inputs], y, axis=operation.settings_as(Axis).axis)


def _embedding_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    layer = graph.program.layers[str(operation.layer)]
    assert isinstance(layer, Table)
    rows = graph.constant(f"{operation.layer}/weight", layer.unpack()[0])
    graph.node("Gather", [rows, graph.name_of(operation.inputs[0])], y, axis=0)


OPERATORS = (
    Operator("take", partial(_choose_to_onnx, node="Gather"), None, inputs=2, settings=Axis),
    Operator("gather", partial(_choose_to_onnx, node="GatherElements"), None, inputs=2, settings=Axis),
    Operator("embedding", _embedding_to_onnx, None, layer="yes"),
)

LOWERINGS: Mapping[str, Lowering] = {}
NEURONS: Mapping[str, str] = {}
