"""What is computed number by number of values of any type: comparisons, logic, choices, conversions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sparbor.ops.arguments import Argument, Constant, Value, refuse
from sparbor.ops.arithmetic import alike, broadcast, of_one_rank, of_two
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph
from sparbor.program.program import DTYPES, Operation, Range

if TYPE_CHECKING:
    from torch.fx import Node


# From PyTorch.


_WIDTH = ("bool", "u8", "i8", "i32", "i64", "f32")  # of two types the later one holds both


def _common(graph: Graph, left: Argument, right: Argument) -> str:
    """The type in which two are compared; plain numbers go with the other one unless it is of whole numbers."""
    names = {"bool": "bool", "int": "bool", "float": "f32"}
    types = []
    for each in (left, right):
        if isinstance(each, Value):
            types.append(graph.dtype(each))
        elif isinstance(each, Constant):
            dtype = str(each.tensor.dtype).removeprefix("torch.")
            types.append(next((name for name, known in DTYPES.items() if known == dtype), "f32"))
        else:
            types.append(names.get(type(each).__name__, "i64"))
    wider = max(types, key=_WIDTH.index)
    return "i64" if wider == "bool" and int in map(type, (left, right)) else wider


def comparison(graph: Graph, node: Node, left: Argument, right: Argument, *, kind: str) -> Value:
    """Whether the one is so to the other."""
    values = alike(graph, node, (left, right), _common(graph, left, right))
    return graph.append(kind, values, broadcast(graph, node, values), dtype="bool")


def logic(graph: Graph, node: Node, left: Argument, right: Argument, *, kind: str) -> Value:
    """Of two truth values."""
    if graph.result(node).type != "bool":
        refuse(node, "works on the bits of whole numbers")
    return of_two(graph, node, kind, left, right)


def negation(graph: Graph, node: Node, x: Argument) -> Value:
    """Not so."""
    if graph.result(node).type != "bool":
        refuse(node, "works on the bits of whole numbers")
    value = graph.cast(graph.value(node, x), "bool")
    return graph.append("logical_not", (value,), graph.shape(value), dtype="bool")


def where(graph: Graph, node: Node, condition: Argument, left: Argument, right: Argument) -> Value:
    """The one where the condition holds, else the other."""
    dtype = graph.result(node).type
    values = of_one_rank(graph, (*alike(graph, node, (condition,), "bool"), *alike(graph, node, (left, right), dtype)))
    return graph.append("where", values, broadcast(graph, node, values), dtype=dtype)


def fill(graph: Graph, node: Node, x: Argument, mask: Argument, number: Argument) -> Value:
    """The number where the mask holds."""
    return where(graph, node, mask, number, x)


def lower_triangle(graph: Graph, node: Node, x: Argument, diagonal: int = 0, *, upper: bool = False) -> Value:
    """What lies on one side of a diagonal of the last two dimensions, and zeros elsewhere."""
    value = graph.value(node, x)
    rows, columns = graph.shape(value)[-2:]
    row = graph.reshaped(graph.append("range", (), (rows,), dtype="i64", settings=Range(diagonal, 1)), (rows, 1))
    column = graph.reshaped(graph.append("range", (), (columns,), dtype="i64", settings=Range(0, 1)), (1, columns))
    kind = "greater_equal" if upper else "less_equal"
    inside = graph.append(kind, (column, row), (rows, columns), dtype="bool")
    return where(graph, node, inside, value, 0)


def cast(graph: Graph, node: Node, x: Argument, *_: Any, **__: Any) -> Value:
    """In the type of the result."""
    return graph.cast(graph.value(node, x), graph.result(node).type)


def is_not_a_number(graph: Graph, node: Node, x: Argument) -> Value:
    """NaN alone is not equal to itself."""
    value = graph.value(node, x)
    return comparison(graph, node, value, value, kind="not_equal")


_COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
_LOGIC = {
    "logical_and.default": "logical_and",
    "logical_or.default": "logical_or",
    "logical_xor.default": "logical_xor",
    **{f"bitwise_{name}.{form}": f"logical_{name}" for name in ("and", "or", "xor") for form in ("Tensor", "Scalar")},
    **{f"__{name}__.{form}": f"logical_{name}" for name in ("and", "or", "xor") for form in ("Tensor", "Scalar")},
}


# To ONNX.


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

LOWERINGS: Mapping[str, Lowering] = {
    **{
        f"{name}.{form}": partial(comparison, kind=kind)
        for name, kind in _COMPARISONS.items()
        for form in ("Tensor", "Scalar")
    },
    **{name: partial(logic, kind=kind) for name, kind in _LOGIC.items()},
    "logical_not.default": negation,
    "bitwise_not.default": negation,
    "where.self": where,
    "where.ScalarOther": where,
    "where.ScalarSelf": where,
    "where.Scalar": where,
    "masked_fill.Scalar": fill,
    "masked_fill.Tensor": fill,
    "tril.default": lower_triangle,
    "triu.default": partial(lower_triangle, upper=True),
    "_to_copy.default": cast,
    "to.dtype": cast,
    "to.dtype_layout": cast,
    "type_as.default": cast,
    "isnan.default": is_not_a_number,
}

NEURONS: Mapping[str, str] = {}
