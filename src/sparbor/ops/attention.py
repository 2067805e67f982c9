"""Attention: softmax(q · kᵀ · scale + mask) · v, head by head (Vaswani et al., "Attention is all you need", 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sparbor.ops.arguments import Argument, Value, refuse
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph
from sparbor.program.program import Attention, Dimensions

if TYPE_CHECKING:
    from torch.fx import Node


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
    shapes = [_with_heads(graph.shape(each)) for each in given]
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


def _with_heads(shape: Dimensions) -> Dimensions:
    """(batch, heads, tokens, features)."""
    if len(shape) > 4:
        around = shape[0]
        for size in shape[1:-3]:
            around = around * size if isinstance(around, int) and isinstance(size, int) else ("*", around, size)
        return (around, *shape[-3:])
    return (*(1,) * (4 - len(shape)), *shape)


def _mask(graph: Graph, mask: Value) -> Value:
    if graph.dtype(mask) not in ("bool", "f32"):
        mask = graph.cast(mask, "bool")
    return graph.reshaped(mask, _with_heads(graph.shape(mask)))


OPERATORS: tuple[Operator, ...] = ()

LOWERINGS: Mapping[str, Lowering] = {"scaled_dot_product_attention.default": attention}

NEURONS: Mapping[str, str] = {}
