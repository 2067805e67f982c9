"""What becomes of the numbers along dimensions: sums, means, extremes and their places, norms, running sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sparbor.ops.activations import activated
from sparbor.ops.arguments import Argument, Value, refuse
from sparbor.ops.arithmetic import of_two
from sparbor.ops.comparisons import cast_in_onnx
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph
from sparbor.program.program import Axes, Axis, Dimension, Operation

if TYPE_CHECKING:
    from torch.fx import Node


# From PyTorch.


def reduced(graph: Graph, value: Value, kind: str, axes: Sequence[int]) -> Value:
    """Over these dimensions, which become 1."""
    shape: list[Dimension] = list(graph.shape(value))
    for axis in axes:
        shape[axis] = 1
    if not axes:
        return value
    return graph.append(kind, (value,), tuple(shape), dtype=graph.dtype(value), settings=Axes(tuple(axes)))


def _axes(graph: Graph, value: Value, dims: int | Sequence[int] | None) -> tuple[int, ...]:
    """Those that PyTorch calls so; all of them for none."""
    rank = len(graph.shape(value))
    given = [dims] if isinstance(dims, int) else list(dims or range(rank))
    return tuple(sorted(dim % max(1, rank) for dim in given)) if rank else ()


def reduction(
    graph: Graph,
    node: Node,
    x: Argument,
    dims: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    kind: str,
    **_: Any,
) -> Value:
    """Over some dimensions, or all; in the type of the result."""
    result = graph.result(node)
    value = graph.cast(graph.value(node, x), result.type)
    return graph.reshaped(reduced(graph, value, kind, _axes(graph, value, dims)), result.shape)


def over_planes(
    graph: Graph,
    node: Node,
    x: Argument,
    dims: int | Sequence[int] | None = None,
    *given: Any,
    kind: str,
    pool: str,
    **named: Any,
) -> Value:
    """The mean or the largest number; over whole planes a pool."""
    value, result = graph.value(node, x), graph.result(node)
    shape, axes = graph.shape(value), _axes(graph, value, dims)
    planes = len(shape) in (3, 4) and axes == tuple(range(2, len(shape)))
    if planes and result.type == graph.dtype(value) == "f32" and all(isinstance(size, int) for size in shape[1:]):
        pooled = graph.append(pool, (value,), (*shape[:2], *(1 for _ in shape[2:])))
        return graph.reshaped(pooled, result.shape)
    return reduction(graph, node, x, dims, *given, kind=kind, **named)


def largest_with_place(
    graph: Graph, node: Node, x: Argument, dim: int, keepdim: bool = False, *, kind: str, place: str
) -> tuple[Value, Value]:
    """The largest or smallest number along a dimension, and its index."""
    value = graph.value(node, x)
    results = [graph.dimensions(node, each.shape) for each in node.meta["val"]]
    axis = dim % len(graph.shape(value))
    found = graph.reshaped(reduced(graph, value, kind, [axis]), results[0])
    return found, graph.reshaped(_placed(graph, value, place, axis), results[1])


def _placed(graph: Graph, value: Value, kind: str, axis: int) -> Value:
    shape = graph.shape(value)
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    return graph.append(kind, (value,), one, dtype="i64", settings=Axis(axis))


def place_of(
    graph: Graph, node: Node, x: Argument, dim: int | None = None, keepdim: bool = False, *, kind: str
) -> Value:
    """The index of the largest or smallest number, along a dimension or of all."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    if dim is None:
        refuse(node, "looks for one place among all dimensions: name the one that it is along")
    if graph.dtype(value) == "bool":
        value = graph.cast(value, "i64")
    return graph.reshaped(_placed(graph, value, kind, dim % len(graph.shape(value))), shape)


def cumulative_sum(graph: Graph, node: Node, x: Argument, dim: int, **_: Any) -> Value:
    """Of all numbers up to each."""
    result = graph.result(node)
    value = graph.cast(graph.value(node, x), result.type)
    axis = Axis(dim % max(1, len(result.shape)))
    return graph.append("cumulative_sum", (value,), result.shape, dtype=result.type, settings=axis)


def truth(
    graph: Graph, node: Node, x: Argument, dims: int | Sequence[int] | None = None, keepdim: bool = False, *, kind: str
) -> Value:
    """Whether any, or all, are not zero."""
    value = graph.cast(graph.value(node, x), "bool")
    return graph.reshaped(reduced(graph, value, kind, _axes(graph, value, dims)), graph.result_shape(node))


def norm(
    graph: Graph,
    node: Node,
    x: Argument,
    order: float | None = 2,
    dims: int | Sequence[int] | None = None,
    keepdim: bool = False,
    **_: Any,
) -> Value:
    """The length of vectors: (Σ |x|ᵖ)^(1/p)."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    axes = _axes(graph, value, dims)
    if order is None or order == 2:
        return graph.reshaped(reduced(graph, value, "reduce_l2", axes), shape)
    size = activated(graph, value, "abs")
    kinds = {1: "reduce_sum", float("inf"): "reduce_max", float("-inf"): "reduce_min"}
    if order not in kinds:
        refuse(node, f"is a norm of order {order}")
    return graph.reshaped(reduced(graph, size, kinds[order], axes), shape)


def variance(
    graph: Graph,
    node: Node,
    x: Argument,
    dims: int | Sequence[int] | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    root: bool = False,
    with_mean: bool = False,
) -> Any:
    """Σ (x − mean)² / (n − correction), its root, and the mean beside it."""
    value = graph.value(node, x)
    if isinstance(dims, bool):
        dims, unbiased = None, dims
    axes = _axes(graph, value, dims)
    less = correction if correction is not None else float(unbiased is not False)
    mean = reduced(graph, value, "reduce_mean", axes)
    apart = of_two(graph, node, "subtract", value, mean, "f32")
    square = of_two(graph, node, "multiply", apart, apart, "f32")
    spread = reduced(graph, square, "reduce_mean", axes)
    if less:
        sizes = [graph.shape(value)[axis] for axis in axes]
        if not all(isinstance(size, int) for size in sizes):
            refuse(node, "is a variance with a correction over dimensions whose sizes depend on the inputs")
        count = 1
        for size in sizes:
            count *= int(str(size))
        spread = of_two(graph, node, "multiply", spread, count / max(count - less, 1e-30), "f32")
    if root:
        spread = activated(graph, spread, "sqrt")
    shape = graph.result_shape(node)
    spread = graph.reshaped(spread, shape)
    return (spread, graph.reshaped(mean, shape)) if with_mean else spread


def log_sum_exp(graph: Graph, node: Node, x: Argument, dims: int | Sequence[int], keepdim: bool = False) -> Value:
    """log Σ eˣ, the largest number taken out before."""
    value = graph.value(node, x)
    axes = _axes(graph, value, dims)
    top = reduced(graph, value, "reduce_max", axes)
    apart = of_two(graph, node, "subtract", value, top, "f32")
    powers = activated(graph, apart, "exp")
    total = reduced(graph, powers, "reduce_sum", axes)
    logarithm = activated(graph, total, "log")
    return graph.reshaped(of_two(graph, node, "add", logarithm, top, "f32"), graph.result_shape(node))


_SUM, _PRODUCT = partial(reduction, kind="reduce_sum"), partial(reduction, kind="reduce_product")
_MEAN = partial(over_planes, kind="reduce_mean", pool="adaptive_average_pool")
_MAX = partial(over_planes, kind="reduce_max", pool="adaptive_max_pool")
_MIN = partial(reduction, kind="reduce_min")


# To ONNX.


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

LOWERINGS: Mapping[str, Lowering] = {
    "sum.default": _SUM,
    "sum.dim_IntList": _SUM,
    "prod.default": _PRODUCT,
    "prod.dim_int": _PRODUCT,
    "mean.default": _MEAN,
    "mean.dim": _MEAN,
    "amax.default": _MAX,
    "max.default": _MAX,
    "amin.default": _MIN,
    "min.default": _MIN,
    "max.dim": partial(largest_with_place, kind="reduce_max", place="argmax"),
    "min.dim": partial(largest_with_place, kind="reduce_min", place="argmin"),
    "argmax.default": partial(place_of, kind="argmax"),
    "argmin.default": partial(place_of, kind="argmin"),
    "cumsum.default": cumulative_sum,
    "any.default": partial(truth, kind="reduce_max"),
    "any.dim": partial(truth, kind="reduce_max"),
    "any.dims": partial(truth, kind="reduce_max"),
    "all.default": partial(truth, kind="reduce_min"),
    "all.dim": partial(truth, kind="reduce_min"),
    "linalg_vector_norm.default": norm,
    "norm.ScalarOpt_dim": norm,
    "norm.Scalar": norm,
    "var.correction": variance,
    "var.dim": variance,
    "var.default": variance,
    "std.correction": partial(variance, root=True),
    "std.dim": partial(variance, root=True),
    "std.default": partial(variance, root=True),
    "var_mean.correction": partial(variance, with_mean=True),
    "std_mean.correction": partial(variance, with_mean=True, root=True),
    "logsumexp.default": log_sum_exp,
}

NEURONS: Mapping[str, str] = {
    "mean.dim": "over_dimensions",
    "amax.default": "over_dimensions",
    "sum.dim_IntList": "over_dimensions",
}
