"""Linear layers."""

from __future__ import annotations

from collections.abc import Mapping

from torch.fx import Node

from sparbor.errors import ArgumentError
from sparbor.lowering.graph import WAY_OUT, Argument, Constant, Graph, Operator, Value
from sparbor.lowering.neurons import NeuronRule, layer_rule
from sparbor.lowering.tracing import where


def linear(graph: Graph, node: Node, x: Argument, weight: Argument, bias: Argument = None) -> Value:
    """Over the last dimension; items of more than two are rows meanwhile."""
    if not isinstance(weight, Constant) or not (bias is None or isinstance(bias, Constant)):
        raise ArgumentError(f"{where(node)} multiplies two computed values. {WAY_OUT}")
    rows = graph.in_rows(graph.value(node, x))
    name = graph.layer_name(node, weight)
    graph.layer_weights(name, weight, lambda tensor: tensor, bias)
    shape = graph.result_shape(node)
    product = graph.append("linear", (rows,), (*graph.shapes[rows][:-1], shape[-1]), layer=name)
    return graph.reshaped(product, shape)


OPERATORS: Mapping[str, Operator] = {"linear.default": linear}

NEURONS: Mapping[str, NeuronRule] = dict.fromkeys(OPERATORS, layer_rule)
