"""Comparisons, logic, choice by a condition, and numbers in another type."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sparbor.ops.arguments import Argument, Constant, Value, refuse
from sparbor.ops.arithmetic import alike, broadcast, of_two
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph
from sparbor.program.program import DTYPES, Range

if TYPE_CHECKING:
    from torch.fx import Node


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
    chosen = alike(graph, node, (left, right), dtype)
    (mask,) = alike(graph, node, (condition,), "bool")
    rank = max(len(graph.shape(each)) for each in (mask, *chosen))
    mask, *chosen_again = (
        graph.reshaped(each, (*(1,) * (rank - len(graph.shape(each))), *graph.shape(each))) for each in (mask, *chosen)
    )
    values = (mask, *chosen_again)
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

OPERATORS: tuple[Operator, ...] = ()

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
