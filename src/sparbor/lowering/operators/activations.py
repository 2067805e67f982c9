"""The activations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch.fx import Node

from sparbor.errors import ArgumentError
from sparbor.lowering.graph import WAY_OUT, Argument, Graph, Operator, Value
from sparbor.lowering.neurons import NeuronRule, number_by_number
from sparbor.lowering.tracing import where
from sparbor.program.program import Activation

# The engine's activation, and the default values of its parameters in the order of the operator's arguments.
_ACTIVATIONS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "relu.default": ("relu", ()),
    "relu6.default": ("clamp", (0.0, 6.0)),
    "hardtanh.default": ("clamp", (-1.0, 1.0)),
    "leaky_relu.default": ("leaky_relu", (0.01,)),
    "elu.default": ("elu", (1.0, 1.0)),
    "selu.default": ("elu", (1.6732632423543772, 1.0507009873554805)),
    "silu.default": ("silu", ()),
    "sigmoid.default": ("sigmoid", ()),
    "tanh.default": ("tanh", ()),
    "hardswish.default": ("hardswish", ()),
    "hardsigmoid.default": ("hardsigmoid", ()),
    "softplus.default": ("softplus", (1.0, 20.0)),
}


def activation(
    graph: Graph, node: Node, x: Argument, *given: Any, kind: str, defaults: tuple[float, ...], **named: Any
) -> Value:
    """One that is computed number by number."""
    parameters = [*given, *named.values()]
    if kind == "elu" and len(parameters) > 2 and parameters[2] != 1:
        raise ArgumentError(f"{where(node)} is an ELU with input_scale={parameters[2]}. {WAY_OUT}")
    parameters = parameters[: len(defaults)]
    values = tuple(float(value) for value in (*parameters, *defaults[len(parameters) :]))
    return _append(graph, node, x, Activation(kind, values))


def gelu(graph: Graph, node: Node, x: Argument, approximate: str = "none") -> Value:
    """Exact, or by tanh."""
    return _append(graph, node, x, Activation("gelu_tanh" if approximate == "tanh" else "gelu"))


def _append(graph: Graph, node: Node, x: Argument, what: Activation) -> Value:
    return graph.append("activation", (graph.value(node, x),), graph.result_shape(node), activation=what)


OPERATORS: Mapping[str, Operator] = {
    **{name: partial(activation, kind=kind, defaults=defaults) for name, (kind, defaults) in _ACTIVATIONS.items()},
    "gelu.default": gelu,
}

# Other operators are tagged by PyTorch as computed number by number; these are not, and the engine has none of them.
_UNTAGGED = ("log_sigmoid.default", "where.ScalarSelf", "_to_copy.default", "to.dtype")

NEURONS: Mapping[str, NeuronRule] = dict.fromkeys((*OPERATORS, *_UNTAGGED), number_by_number)
