"""Concatenation; reshapes change no number and belong to the graph itself, but for what they do to neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch.fx import Node

from sparbor.errors import ArgumentError
from sparbor.lowering.graph import PASS_THROUGH, RESHAPES, WAY_OUT, Argument, Graph, Operator, Value
from sparbor.lowering.neurons import NeuronRule, number_by_number, reshaped
from sparbor.lowering.tracing import where


def concatenate(graph: Graph, node: Node, inputs: Sequence[Argument], dim: int = 0) -> Value:
    """Of channels, or of the features of items of one dimension."""
    values = tuple(graph.value(node, each) for each in inputs)
    shape = graph.result_shape(node)
    if dim not in (1, -len(shape)):
        raise ArgumentError(
            f"{where(node)} concatenates along dimension {dim}: the engine does along 1, the channels. {WAY_OUT}"
        )
    return values[0] if len(values) == 1 else graph.append("concat", values, shape)


OPERATORS: Mapping[str, Operator] = {"cat.default": concatenate}

NEURONS: Mapping[str, NeuronRule] = {
    **dict.fromkeys(PASS_THROUGH, number_by_number),
    **dict.fromkeys(RESHAPES, reshaped),
}
