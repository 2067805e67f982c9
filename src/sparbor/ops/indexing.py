"""What chooses numbers by indices: along a dimension of a value, and rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sparbor.ops.arguments import Argument, Constant, Value, as_numpy, refuse
from sparbor.ops.arithmetic import alike, broadcast, of_two
from sparbor.ops.arrays import dimension_as_value
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph
from sparbor.packing.tables import Table
from sparbor.program.program import Axis, Dimension, Operation, times

if TYPE_CHECKING:
    from torch.fx import Node


# From PyTorch.


def embedding(graph: Graph, node: Node, weight: Argument, ids: Argument, *_: Any, **__: Any) -> Value:
    """A row of the table for each id."""
    indices, shape = graph.value(node, ids), graph.result_shape(node)
    if not isinstance(weight, Constant):
        return _take(graph, graph.value(node, weight), indices, 0, shape)
    name = graph.layer_name(node, weight)
    graph.keep_table(name, as_numpy(weight.tensor))
    return graph.append("embedding", (whole(graph, indices),), shape, layer=name)


def whole(graph: Graph, indices: Value) -> Value:
    """Indices in a type that the engine takes for them."""
    return indices if graph.dtype(indices) in ("i64", "i32") else graph.cast(indices, "i64")


def _take(graph: Graph, value: Value, indices: Value, axis: int, shape: tuple[Dimension, ...]) -> Value:
    return graph.append("take", (value, whole(graph, indices)), shape, dtype=graph.dtype(value), settings=Axis(axis))


def index_select(graph: Graph, node: Node, x: Argument, dim: int, indices: Argument) -> Value:
    """These indices of a dimension."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    return _take(graph, value, graph.value(node, indices), dim % len(shape), shape)


def gather(graph: Graph, node: Node, x: Argument, dim: int, indices: Argument, **_: Any) -> Value:
    """At each place the number at an index along one dimension."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    places = whole(graph, graph.value(node, indices))
    axis = Axis(dim % len(shape))
    return graph.append("gather", (value, places), shape, dtype=graph.dtype(value), settings=axis)


def index(graph: Graph, node: Node, x: Argument, given: Sequence[Argument]) -> Value:
    """x[:, i, j]: indices of dimensions that follow each other, broadcast to one shape, which takes their place."""
    value = graph.value(node, x)
    axes = [axis for axis, each in enumerate(given) if each is not None]
    indices = [each for each in given if each is not None]
    if any(_is_mask(graph, each) for each in indices):
        refuse(node, "takes as many numbers as a mask holds, which a deployed model cannot know")
    if axes != list(range(axes[0], axes[0] + len(axes))):  # those that are apart go to the front
        others = [axis for axis in range(len(graph.shape(value))) if axis not in axes]
        value, axes = graph.permuted(value, [*axes, *others]), list(range(len(axes)))
    places = list(alike(graph, node, indices, "i64"))
    shape = graph.shape(value)
    sizes = [shape[axis] for axis in axes]
    linear = _from_the_front(graph, node, places[0], sizes[0]) if len(places) > 1 else places[0]
    for place, size in zip(places[1:], sizes[1:], strict=True):
        further = _from_the_front(graph, node, place, size)
        scaled = of_two(graph, node, "multiply", linear, dimension_as_value(graph, size), "i64")
        linear = of_two(graph, node, "add", scaled, further, "i64")
    flat: Dimension = sizes[0]
    for size in sizes[1:]:
        flat = times(flat, size)
    rows = graph.reshaped(value, (*shape[: axes[0]], flat, *shape[axes[-1] + 1 :]))
    wanted = broadcast(graph, node, places)
    return graph.reshaped(
        _take(graph, rows, linear, axes[0], (*shape[: axes[0]], *wanted, *shape[axes[-1] + 1 :])),
        graph.result_shape(node),
    )


def _is_mask(graph: Graph, given: Argument) -> bool:
    if isinstance(given, Constant):
        return str(given.tensor.dtype) in ("torch.bool", "torch.uint8")
    return isinstance(given, Value) and graph.dtype(given) in ("bool", "u8")


def _from_the_front(graph: Graph, node: Node, places: Value, size: Dimension) -> Value:
    """Indices counted from the end, which are negative, as those from the front."""
    return of_two(graph, node, "remainder", places, dimension_as_value(graph, size), "i64")


def embedding_bag(
    graph: Graph,
    node: Node,
    weight: Argument,
    ids: Argument,
    offsets: Argument,
    *_: Any,
    **__: Any,
) -> Any:
    """Bags of ids whose rows are summed, or their mean or maximum taken."""
    refuse(node, "is an embedding of bags of ids by offsets: use nn.Embedding, and the sum or mean of what it gives")


# To ONNX.


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

LOWERINGS: Mapping[str, Lowering] = {
    "embedding.default": embedding,
    "index_select.default": index_select,
    "gather.default": gather,
    "index.Tensor": index,
    "embedding_bag.padding_idx": embedding_bag,
    "_embedding_bag.default": embedding_bag,
    "_embedding_bag_forward_only.default": embedding_bag,
}

NEURONS: Mapping[str, str] = {}
