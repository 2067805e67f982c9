"""Activations behind a layer, whatever nodes they are written with: they are known by the curve that they compute.

Exporters write GELU with an Erf and four other nodes, in several orders, and SiLU with a Sigmoid and a product. Instead
of a pattern for each, the nodes that make one number of one number are run over some, and compared with what the
engine's activations are.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from onnx import NodeProto

from sparbor.export.onnx.graph import OnnxGraph
from sparbor.export.onnx.target import OPSET
from sparbor.onnx.scopes import Array, Scope, computed, scalar_of
from sparbor.ops.activations import activation_to_onnx
from sparbor.program.program import Activation, Program

# Of one number each, or of one number and constants.
_BY_NUMBER = {
    *("Relu", "Sigmoid", "Tanh", "Erf", "Gelu", "HardSwish", "HardSigmoid", "LeakyRelu", "Elu", "Selu", "Clip"),
    *("Softplus", "Softsign", "Mish", "Swish", "Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Exp", "Neg", "Identity"),
}
_MOST_NODES = 12
_LIKELY = ("relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "softsign", "mish")
_PLACES = np.concatenate([np.linspace(-8, 8, 2001), [-60, -20, -12, 12, 20, 60]]).astype(np.float32)
_ALIKE = 2e-6  # times the largest number beside 1: roundings in other orders


def activation_behind(scope: Scope, y: str) -> tuple[Activation, list[NodeProto], str] | None:
    """The activation that follows a value, the nodes that compute it, and the name of their result."""
    found = None
    inside, nodes = {y}, list[NodeProto]()
    for node in scope.graph.node:
        if not _takes(scope, node, inside):
            continue
        nodes.append(node)
        inside.add(node.output[0])
        if (result := _only_result(scope, nodes, inside)) is not None and result != y:
            activation = _known(scope, nodes, y, result)
            found = (activation, list(nodes), result) if activation is not None else found
        if len(nodes) == _MOST_NODES:
            break
    return found


def _takes(scope: Scope, node: NodeProto, inside: set[str]) -> bool:
    """Whether a node works number by number on values inside and on constants of one number."""
    if node.domain or node.op_type not in _BY_NUMBER or not inside.intersection(node.input):
        return False
    others = [each for each in node.input if each and each not in inside]
    return all(scalar_of(scope.constant(each)) is not None for each in others)


def _only_result(scope: Scope, nodes: list[NodeProto], inside: set[str]) -> str | None:
    """The one value inside that is used elsewhere."""
    taken = [each for node in nodes for each in node.input]
    used = [name for name in inside if scope.uses[name] > taken.count(name)]
    return used[0] if len(used) == 1 else None


def _known(scope: Scope, nodes: list[NodeProto], y: str, result: str) -> Activation | None:
    given: dict[str, Array] = {y: _PLACES}
    for node in nodes:
        for name in node.input:
            if name and name not in given and (array := scope.constant(name)) is not None:
                given[name] = array
    with np.errstate(all="ignore"):
        curve = computed(nodes, given, result, scope.opset)
    for activation in (*map(Activation, _LIKELY), *_with_parameters(scope, nodes[-1])):
        expected = _curve(activation)
        if curve.shape == expected.shape and np.all(np.abs(curve - expected) <= _ALIKE * (1 + np.abs(expected))):
            return activation
    return None


def _with_parameters(scope: Scope, node: NodeProto) -> list[Activation]:
    """What a node of this kind would be alone."""
    numbers = {attribute.name: attribute.f for attribute in node.attribute}
    match node.op_type:
        case "LeakyRelu":
            return [Activation("leaky_relu", (numbers.get("alpha", 0.01),))]
        case "Elu":
            return [Activation("elu", (numbers.get("alpha", 1.0), 1.0))]
        case "Selu":
            return [Activation("elu", (1.6732632423543772, 1.0507009873554805))]
        case "Clip":
            low, high = (scalar_of(scope.constant(name)) for name in (*node.input[1:], "", "")[:2])
            low, high = numbers.get("min", low), numbers.get("max", high)  # until opset 10 they were attributes
            return [Activation("clamp", (-np.inf if low is None else low, np.inf if high is None else high))]
        case _:
            return []


@cache
def _curve(activation: Activation) -> Array:
    """What the engine's activation makes of the places."""
    graph = OnnxGraph(Program.of_items([(1,), (1,)], 0, 1, ()))
    activation_to_onnx(graph, activation, "x", "y")
    given: dict[str, Array] = {"x": _PLACES, **graph.constants}
    with np.errstate(all="ignore"):
        return computed(graph.nodes, given, "y", OPSET)
