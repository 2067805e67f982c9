"""Numbers in order, and put at places that are computed: by comparing every two numbers, or every two places."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sparbor.ops.arguments import Argument, Value, refuse
from sparbor.ops.arithmetic import of_two
from sparbor.ops.comparisons import comparison, where
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.reductions import reduced
from sparbor.ops.targets import Graph
from sparbor.program.program import Axis, Dimension, Range

if TYPE_CHECKING:
    from torch.fx import Node

_MOST = 4096  # numbers that are put in order: each is compared with each


def _places(graph: Graph, count: Dimension) -> Value:
    """0, 1, 2 and so on."""
    return graph.append("range", (), (count,), dtype="i64", settings=Range(0, 1))


def _column(graph: Graph, value: Value) -> Value:
    return graph.reshaped(value, (*graph.shape(value), 1))


def _row(graph: Graph, value: Value) -> Value:
    *around, size = graph.shape(value)
    return graph.reshaped(value, (*around, 1, size))


def _total(graph: Graph, value: Value, kind: str = "reduce_sum") -> Value:
    """Over the last dimension, which goes; what is true counts as 1."""
    numbers = graph.cast(value, "i64") if graph.dtype(value) == "bool" else value
    total = reduced(graph, numbers, kind, [len(graph.shape(value)) - 1])
    return graph.reshaped(total, graph.shape(total)[:-1])


def _to_the_end(graph: Graph, value: Value, axis: int) -> Value:
    return graph.permuted(value, [*(each for each in range(len(graph.shape(value))) if each != axis), axis])


def _from_the_end(graph: Graph, value: Value, axis: int) -> Value:
    last = len(graph.shape(value)) - 1
    return graph.permuted(value, [*range(axis), last, *range(axis, last)])


def _gathered(graph: Graph, value: Value, indices: Value) -> Value:
    last = Axis(len(graph.shape(value)) - 1)
    return graph.append("gather", (value, indices), graph.shape(indices), dtype=graph.dtype(value), settings=last)


def in_order(
    graph: Graph, node: Node, x: Argument, count: Dimension | None, dim: int, descending: bool
) -> tuple[Value, Value]:
    """The first so many numbers along a dimension, and their indices; equal ones stay in the order that they have.

    A number's rank is how many come before it; the number of each rank is the one that has it.
    """
    given = graph.value(node, x)
    axis = dim % max(1, len(graph.shape(given)))
    value = _to_the_end(graph, given, axis)
    size = graph.shape(value)[-1]
    if isinstance(size, int) and size > _MOST:
        refuse(node, f"puts {size} numbers in order, more than {_MOST}")
    both, places = (_row(graph, value), _column(graph, value)), _places(graph, size)
    before = comparison(graph, node, *both, kind="greater" if descending else "less")
    equal = comparison(graph, node, *both, kind="equal")
    earlier = comparison(graph, node, places, _column(graph, places), kind="less")
    equal_and_earlier = of_two(graph, node, "logical_and", equal, earlier, "bool")
    before = of_two(graph, node, "logical_or", before, equal_and_earlier, "bool")
    wanted = _column(graph, _places(graph, size if count is None else count))
    has_it = comparison(graph, node, _row(graph, _total(graph, before)), wanted, kind="equal")
    indices = _total(graph, of_two(graph, node, "multiply", has_it, places, "i64"))
    return _from_the_end(graph, _gathered(graph, value, indices), axis), _from_the_end(graph, indices, axis)


def largest(
    graph: Graph, node: Node, x: Argument, count: int, dim: int = -1, largest: bool = True, *_: Any
) -> tuple[Value, Value]:
    """The largest numbers, or the smallest, and their indices."""
    return in_order(graph, node, x, count, dim, largest)


def sort(
    graph: Graph, node: Node, x: Argument, dim: int = -1, descending: bool = False, **_: Any
) -> tuple[Value, Value]:
    """All numbers, and their indices."""
    return in_order(graph, node, x, None, dim, descending)


def stable_sort(
    graph: Graph, node: Node, x: Argument, *, dim: int = -1, descending: bool = False, **_: Any
) -> tuple[Value, Value]:
    """All numbers, and their indices; equal ones stay in the order that they have, as always here."""
    return in_order(graph, node, x, None, dim, descending)


def scatter(
    graph: Graph, node: Node, x: Argument, dim: int, indices: Argument, source: Argument, *, adds: bool = False
) -> Value:
    """The source's numbers put at these indices along a dimension, or added there; of several the last one counts."""
    result = graph.result(node)
    value, places = graph.cast(graph.value(node, x), result.type), graph.value(node, indices)
    shape = graph.shape(places)
    axis = dim % len(shape)
    around = zip(shape, graph.shape(value), strict=True)
    if any(one != other for each, (one, other) in enumerate(around) if each != axis):
        refuse(node, "puts numbers at some places of other dimensions only")
    parts = graph.cast(graph.value(node, source), result.type)
    parts = _to_the_end(graph, graph.expanded(parts, shape) if graph.shape(parts) == () else parts, axis)
    if graph.shape(parts)[-1] != shape[axis]:
        refuse(node, "takes some of the source's numbers only")
    places = _to_the_end(graph, graph.cast(places, "i64"), axis)
    targets = _column(graph, _places(graph, graph.shape(value)[axis]))
    goes_there = comparison(graph, node, _row(graph, places), targets, kind="equal")
    if adds:
        there = _total(graph, where(graph, node, goes_there, _row(graph, parts), 0))
        return of_two(graph, node, "add", value, _from_the_end(graph, there, axis))
    numbered = of_two(graph, node, "multiply", goes_there, _from_one(graph, shape[axis]), "i64")
    last = _total(graph, numbered, "reduce_max")  # 0 where none goes
    which = of_two(graph, node, "maximum", of_two(graph, node, "subtract", last, 1, "i64"), 0, "i64")
    new = _from_the_end(graph, _gathered(graph, parts, which), axis)
    return where(graph, node, _from_the_end(graph, graph.cast(last, "bool"), axis), new, value)


def _from_one(graph: Graph, count: Dimension) -> Value:
    return graph.append("range", (), (count,), dtype="i64", settings=Range(1, 1))


OPERATORS: tuple[Operator, ...] = ()

LOWERINGS: Mapping[str, Lowering] = {
    "topk.default": largest,
    "sort.default": sort,
    "sort.stable": stable_sort,
    "scatter.src": scatter,
    "scatter.value": scatter,
    "scatter_add.default": partial(scatter, adds=True),
}

NEURONS: Mapping[str, str] = {}
