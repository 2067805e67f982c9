"""Attention: softmax(q kᵀ · scale + mask) v, for each item and each head."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import OnnxGraph
from sparbor.program.program import Attention, Operation

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


OPERATORS = (Operator("attention", _to_onnx, None, inputs=None, settings=Attention),)

LOWERINGS: Mapping[str, Lowering] = {}

NEURONS: Mapping[str, str] = {}
