"""Attention: softmax(q · kᵀ · scale + mask) · v, head by head (Vaswani et al., "Attention is all you need", 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.ops.arguments import Argument, Value, refuse
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph
from sparbor.program.program import Attention, Dimensions, Operation, times

if TYPE_CHECKING:
    from torch.fx import Node


# From PyTorch.


def attention(
    graph: Graph,
    node: Node,
    query: Argument,
    key: Argument,
    value: Argument,
    mask: Argument = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    """`scaled_dot_product_attention`; dimensions before the heads are one meanwhile."""
    if dropout:
        refuse(node, f"drops out with probability {dropout}: pass 0.0 where the model evaluates")
    given = [graph.value(node, each) for each in (query, key, value)]
    given[1:] = _shared(graph, *given[1:])
    shapes = [with_heads(graph.shape(each)) for each in given]
    parts = [graph.reshaped(each, shape) for each, shape in zip(given, shapes, strict=True)]
    features = shapes[0][-1]
    if scale is None:
        if not isinstance(features, int):
            refuse(node, "scales by a size that depends on the inputs")
        scale = 1 / math.sqrt(features)
    if mask is not None:
        parts.append(_mask(graph, graph.value(node, mask)))
    settings = Attention(float(scale), is_causal)
    made = graph.append("attention", tuple(parts), (*shapes[0][:-1], shapes[2][-1]), settings=settings)
    return graph.reshaped(made, graph.result_shape(node))


def _shared(graph: Graph, key: Value, value: Value) -> tuple[Value, Value]:
    """Keys and values before each head of theirs was repeated for the heads of queries that share it."""
    of_key, of_value = graph.before_repeating(key, 1), graph.before_repeating(value, 1)
    if of_key is None or of_value is None or graph.shape(of_key)[1] != graph.shape(of_value)[1]:
        return key, value
    return of_key, of_value


def with_heads(shape: Dimensions) -> Dimensions:
    """(batch, heads, tokens, features)."""
    if len(shape) > 4:
        around = shape[0]
        for size in shape[1:-3]:
            around = times(around, size)
        return (around, *shape[-3:])
    return (*(1,) * (4 - len(shape)), *shape)


def _mask(graph: Graph, mask: Value) -> Value:
    if graph.dtype(mask) not in ("bool", "f32"):
        mask = graph.cast(mask, "bool")
    return graph.reshaped(mask, with_heads(graph.shape(mask)))


# To ONNX.


HIDDEN = -1e37  # scores below are those of keys that a query does not see


def _to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """By products and a softmax, whose weights are zeros where a key is hidden, even if all of a query's are."""
    settings = operation.settings_as(Attention)
    q, k, v, *mask = map(graph.name_of, operation.inputs)
    q = graph.node("Mul", [q, graph.scalar(f"{y}/scale", settings.scale)])
    k = graph.node("Transpose", [_of_each_head(graph, operation, 1, k)], perm=(0, 1, 3, 2))
    scores = graph.node("MatMul", [q, k])
    if mask and graph.program.values[operation.inputs[3]].type == "bool":
        scores = _where(graph, mask[0], scores, -np.inf)
    elif mask:
        scores = graph.node("Add", [scores, mask[0]])
    if settings.causal:
        scores = _where(graph, _causal(graph, scores), scores, -np.inf)
    weights = graph.node("Softmax", [scores], axis=-1)
    if mask or settings.causal:
        weights = _where(graph, graph.node("Greater", [scores, graph.scalar("hidden", HIDDEN)]), weights, 0)
    graph.node("MatMul", [weights, _of_each_head(graph, operation, 2, v)], y)


def _where(graph: OnnxGraph, flags: str, x: str, otherwise: float) -> str:
    return graph.node("Where", [flags, x, graph.scalar("otherwise", otherwise)])


def _of_each_head(graph: OnnxGraph, operation: Operation, which: int, name: str) -> str:
    """Keys or values, repeated for the heads of queries that share them."""
    (_, heads, _, _), (_, shared, _, features) = (
        graph.program.values[operation.inputs[each]].shape for each in (0, which)
    )
    if heads == shared:
        return name
    if not (isinstance(heads, int) and isinstance(shared, int) and isinstance(features, int)):
        raise ArgumentError("attention of any number of heads cannot be exported to ONNX: fix the number")
    apart = graph.node("Unsqueeze", [name, graph.integers("behind_heads", [2])])
    repeated = graph.node("Expand", [apart, graph.integers("repeated", [1, 1, heads // shared, 1, 1])])
    return graph.node("Reshape", [repeated, graph.integers("heads", [0, heads, -1, features])])


def _causal(graph: OnnxGraph, scores: str) -> str:
    """Flags of the keys that each query sees: all up to the diagonal that ends in the last corner."""
    shape = graph.node("Shape", [scores], start=-2)
    queries, keys = (graph.node("Gather", [shape, graph.constant("which", np.array(each))]) for each in (0, 1))
    ones = graph.node("Expand", [graph.scalar("one", 1), shape])
    seen = graph.node("Trilu", [ones, graph.node("Sub", [keys, queries])], upper=0)
    return graph.node("Greater", [seen, graph.scalar("none", 0)])


OPERATORS = (Operator("attention", _to_onnx, None, inputs=(3, 4), settings=Attention),)

LOWERINGS: Mapping[str, Lowering] = {"scaled_dot_product_attention.default": attention}

NEURONS: Mapping[str, str] = {}
