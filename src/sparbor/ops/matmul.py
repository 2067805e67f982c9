"""Products of two values, as matrices of their last two dimensions."""

from __future__ import annotations

from collections.abc import Mapping

from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import OnnxGraph
from sparbor.program.program import Operation


def _to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    graph.node("MatMul", [graph.name_of(value) for value in operation.inputs], y)


OPERATORS = (Operator("matmul", _to_onnx, None, inputs=2),)

LOWERINGS: Mapping[str, Lowering] = {}

NEURONS: Mapping[str, str] = {}
