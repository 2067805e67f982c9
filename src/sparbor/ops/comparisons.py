"""What is computed number by number of values of any type: comparisons, logic, choices, conversions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import OnnxGraph
from sparbor.program.program import Operation

# ONNX's numbers of the types.
_TYPES: Mapping[str, int] = dict(f32=1, u8=2, i8=3, i32=6, i64=7, bool=9)


def cast_in_onnx(graph: OnnxGraph, x: str, kind: str, y: str | None = None) -> str:
    """The value named ``x`` as numbers of this type."""
    return graph.node("Cast", [x], y, to=_TYPES[kind])


def _inputs(graph: OnnxGraph, operation: Operation) -> list[str]:
    return [graph.name_of(value) for value in operation.inputs]


def _widened(graph: OnnxGraph, operation: Operation) -> list[str]:
    """The inputs; those of a byte as i32, because runtimes do not compare bytes."""
    kind = graph.program.values[operation.inputs[0]].type
    names = _inputs(graph, operation)
    return [cast_in_onnx(graph, name, "i32") for name in names] if kind in ("u8", "i8", "bool") else names


def _compare_to_onnx(graph: OnnxGraph, operation: Operation, y: str, *, node: str) -> None:
    graph.node(node, _widened(graph, operation), y)


def _not_equal_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    graph.node("Not", [graph.node("Equal", _widened(graph, operation))], y)


def _plain_to_onnx(graph: OnnxGraph, operation: Operation, y: str, *, node: str) -> None:
    graph.node(node, _inputs(graph, operation), y)


def _where_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    condition, *choices = _inputs(graph, operation)
    kind = graph.program.values[operation.output].type
    if kind not in ("i8", "bool"):
        graph.node("Where", [condition, *choices], y)
        return
    chosen = graph.node("Where", [condition, *(cast_in_onnx(graph, name, "i32") for name in choices)])
    cast_in_onnx(graph, chosen, kind, y)


def _cast_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    cast_in_onnx(graph, graph.name_of(operation.inputs[0]), graph.program.values[operation.output].type, y)


def _comparison(kind: str, node: str) -> Operator:
    return Operator(kind, partial(_compare_to_onnx, node=node), None, inputs=2)


def _logic(kind: str, node: str) -> Operator:
    return Operator(kind, partial(_plain_to_onnx, node=node), None, inputs=1 if node == "Not" else 2)


OPERATORS = (
    _comparison("equal", "Equal"),
    Operator("not_equal", _not_equal_to_onnx, None, inputs=2),
    _comparison("less", "Less"),
    _comparison("less_equal", "LessOrEqual"),
    _comparison("greater", "Greater"),
    _comparison("greater_equal", "GreaterOrEqual"),
    _logic("logical_and", "And"),
    _logic("logical_or", "Or"),
    _logic("logical_xor", "Xor"),
    _logic("logical_not", "Not"),
    Operator("where", _where_to_onnx, None, inputs=3),
    Operator("cast", _cast_to_onnx, None),
)

LOWERINGS: Mapping[str, Lowering] = {}
NEURONS: Mapping[str, str] = {}
