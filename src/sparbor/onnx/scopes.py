"""A graph of an ONNX model as a scope: which of its values are constants, who makes a value, and who uses it.

Subgraphs (of If, Loop and Scan) see the values of the graphs around them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, NodeProto, numpy_helper
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[Any]

# What exporters put between a weight and the node that multiplies with it.
FOLDED = {"Constant", "Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "DequantizeLinear"}


def computed(nodes: Sequence[NodeProto], given: Mapping[str, Array], wanted: str, opset: int) -> Array:
    """What some nodes of ONNX's own make of given values."""
    if any(node.op_type == "DequantizeLinear" for node in nodes):
        opset = max(19, opset)  # the reference has it from there on only, and it takes what earlier ones took
    inputs = [onnx.helper.make_tensor_value_info(name, _type_of(array), None) for name, array in given.items()]
    output = onnx.helper.make_empty_tensor_value_info(wanted)
    graph = onnx.helper.make_graph(nodes, "part", inputs, [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    (result,) = ReferenceEvaluator(model).run([wanted], dict(given))
    return np.asarray(result)


def _type_of(array: Array) -> int:
    return onnx.helper.np_dtype_to_tensor_dtype(array.dtype)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Those that the node may run."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs


class Scope:
    """One graph of a model; ``outer`` is the one around it."""

    def __init__(self, graph: GraphProto, opset: int, outer: Scope | None = None) -> None:
        self.graph, self.opset, self.outer = graph, opset, outer
        replaceable = {each.name for each in graph.input}  # by whoever runs the model: no constants
        self.initializers = {each.name: each for each in graph.initializer if each.name not in replaceable}
        self.made_by = {name: node for node in graph.node for name in node.output if name}
        self.uses = Counter(_used_in(graph))
        self._inputs = replaceable
        self._known: dict[str, Array | None] = {}

    def all(self) -> Iterator[Scope]:
        """This one and all within it."""
        yield self
        for node in self.graph.node:
            for graph in subgraphs(node):
                yield from Scope(graph, self.opset, self).all()

    def users(self, name: str) -> list[NodeProto]:
        """The nodes of this graph that take a value, in order."""
        return [node for node in self.graph.node if name in node.input]

    def constant(self, name: str) -> Array | None:
        """The numbers that a value always has, or ``None`` if it is computed of inputs."""
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> Array | None:
        if name in self.initializers:
            return numpy_helper.to_array(self.initializers[name])
        if (node := self.made_by.get(name)) is not None:
            return self._folded(node, name)
        if name in self._inputs or self.outer is None:
            return None
        return self.outer.constant(name)

    def _folded(self, node: NodeProto, name: str) -> Array | None:
        if node.domain or node.op_type not in FOLDED:
            return None
        given = {each: self.constant(each) for each in node.input if each}
        known = {each: array for each, array in given.items() if array is not None}
        if len(known) < len(given):
            return None
        return computed([node], known, name, self.opset)


def _used_in(graph: GraphProto) -> Iterator[str]:
    """The names that a graph takes of itself and of those around it, each as often as it does."""
    yield from (each.name for each in graph.output)
    for node in graph.node:
        yield from node.input
        for inner in subgraphs(node):
            yield from _used_in(inner)


def scalar_of(array: Array | None) -> float | None:
    """The one number of a constant."""
    return None if array is None or array.size != 1 else float(np.asarray(array).reshape(()))
