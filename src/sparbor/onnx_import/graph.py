"""An ONNX graph made ready: constants computed, branches chosen, and only the nodes that its outputs need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from sparbor.errors import ArgumentError
from sparbor.onnx.scopes import computed
from sparbor.onnx_import.node import WAY_OUT, Array, Node, node_of
from sparbor.onnx_import.quantized import SATURATE
from sparbor.onnx_import.table import is_known
from sparbor.onnx_import.values import is_known_type

_MOVE_TEXT = ("Identity", "Reshape", "Squeeze", "Unsqueeze", "Gather", "ai.onnx.ml.ArrayFeatureExtractor")


@dataclass
class Branches:
    """An If whose condition is computed, of sizes it may be: the nodes of both branches and what each answers."""

    node: Node
    ways: tuple[tuple[list[Node | Branches], list[str]], tuple[list[Node | Branches], list[str]]]


@dataclass
class Prepared:
    """A graph without what is always the same. ``text`` are values of text, which only outputs may be."""

    nodes: list[Node | Branches] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    text: set[str] = field(default_factory=set)
    outputs: tuple[str, ...] = ()


def prepared(model: ModelProto) -> Prepared:
    """The graph of a model that has been read; raises ArgumentError, which names all that cannot run."""
    return _Preparing(model).prepared()


class _Preparing:
    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.opsets = {("" if each.domain == "ai.onnx" else each.domain): each.version for each in model.opset_import}
        self.found = Prepared()
        self.made_by: dict[str, Node] = {}
        self.unknown: Counter[str] = Counter()

    def prepared(self) -> Prepared:
        graph = self.model.graph
        nodes = self._walked(graph)
        outputs = [each.name for each in graph.output if each.name not in self.found.text]
        if not outputs:
            raise ArgumentError(f"the model answers with text alone, which the engine has not: {WAY_OUT}")
        self.found.nodes = _needed(nodes, outputs)
        self.found.outputs = tuple(outputs)
        for kind in _kinds(self.found.nodes):
            self.unknown[kind] += not is_known(kind)
        self._refuse_unknown()
        return self.found

    def _refuse_unknown(self) -> None:
        kinds = [
            f"{kind} ({count} nodes)" if count > 1 else kind for kind, count in sorted(self.unknown.items()) if count
        ]
        if kinds:
            raise ArgumentError(f"the model has operators that cannot run on the engine: {', '.join(kinds)}: {WAY_OUT}")

    def _walked(self, graph: GraphProto) -> list[Node | Branches]:
        """The nodes of a graph in order; constants are noted."""
        for each in graph.initializer:
            self._note_constant(each.name, numpy_helper.to_array(each))
        if graph.sparse_initializer:
            raise ArgumentError(f"the model has weights in ONNX's sparse form, which no exporter writes: {WAY_OUT}")
        return [node for proto in graph.node for node in self._taken(proto)]

    def _taken(self, proto: NodeProto) -> Iterator[Node | Branches]:
        node = node_of(proto, self.opsets)
        if node.kind == "Constant":
            self._note_constant(node.outputs[0], _constant(node))
        elif node.kind == "If":
            yield from self._branches(node)
        elif self._is_text(node):
            self.found.text.update(node.outputs)
        elif not self._is_folded(proto, node):
            yield self._kept(node)

    def _kept(self, node: Node) -> Node:
        node = replace(node, constant=tuple(name in self.found.constants for name in node.inputs))
        first = self.made_by.get(node.inputs[0]) if node.inputs else None
        if node.kind == "DequantizeLinear" and first is not None and first.kind == "QuantizeLinear":
            attributes = {**node.attributes, **first.attributes}
            node = replace(node, kind=SATURATE, inputs=first.inputs, attributes=attributes, constant=first.constant)
        self.made_by.update(dict.fromkeys(node.outputs, node))
        return node

    def _note_constant(self, name: str, array: Array) -> None:
        if array.dtype.kind in "OUS":
            self.found.text.add(name)
        elif is_known_type(array.dtype) or array.dtype.kind in "iuV" or array.dtype.name.startswith(("int", "uint")):
            self.found.constants[name] = array
        else:
            raise ArgumentError(f"constant {name!r} is {array.dtype}, which the engine has not: {WAY_OUT}")

    def _is_text(self, node: Node) -> bool:
        """Whether the node makes text; refuses one that makes something else of it."""
        if node.kind == "Cast" and node.get("to") == TensorProto.STRING:
            return True
        if node.kind == "ai.onnx.ml.LinearClassifier" and node.get("classlabels_strings"):
            self.found.text.add(node.outputs[0])
            return False
        if not any(name in self.found.text for name in node.inputs):
            return False
        if node.kind not in _MOVE_TEXT:
            node.refuse("works on text, which the engine has not")
        return True

    def _is_folded(self, proto: NodeProto, node: Node) -> bool:
        """Whether the node computes what is always the same, which is then known."""
        known = self.found.constants
        given = {name: known[name] for name in node.inputs if name and name in known}
        if proto.domain not in ("", "ai.onnx") or not is_known(node.kind) or set(node.inputs) - {"", *given}:
            return False
        if node.kind == "Identity":
            known[node.outputs[0]] = known[node.inputs[0]]  # the array itself, for layers that share it
            return True
        try:
            results = {name: computed([proto], given, name, node.opset) for name in node.outputs if name}
        except Exception:  # of the reference, which lacks some forms of operators: the node stays
            return False
        known.update(results)
        return True

    def _branches(self, node: Node) -> Iterator[Node | Branches]:
        """The nodes of the branch that a constant condition takes; of a computed one both branches."""
        taken = {True: node.attributes["then_branch"], False: node.attributes["else_branch"]}
        condition = self.found.constants.get(node.inputs[0])
        if condition is not None:
            graph = taken[bool(condition)]
            yield from self._walked(graph)
            for inner, outer in zip(graph.output, node.outputs, strict=True):
                yield from self._taken(helper.make_node("Identity", [inner.name], [outer], f"{node.name}/{outer}"))
            return
        ways = [(self._walked(taken[way]), [each.name for each in taken[way].output]) for way in (True, False)]
        yield Branches(replace(node, attributes={}), (ways[0], ways[1]))


def _constant(node: Node) -> Array:
    """The numbers of a Constant node, which may be written in several ways."""
    for name, value in node.attributes.items():
        if name == "value":
            return np.asarray(value)
        if name.startswith("value_"):
            dtype: Any = {"float": np.float32, "int": np.int64}.get(
                name.removeprefix("value_").removesuffix("s"), object
            )
            return np.array(value, dtype)
    return node.refuse("is a constant in a form that is not known")


def _kinds(nodes: Sequence[Node | Branches]) -> Iterator[str]:
    for each in nodes:
        if isinstance(each, Branches):
            for inner, _ in each.ways:
                yield from _kinds(inner)
        else:
            yield each.kind


def _needed(nodes: Sequence[Node | Branches], outputs: Sequence[str]) -> list[Node | Branches]:
    """The nodes that the outputs are computed of, each knowing which of its own are used."""
    used, kept = set(outputs), list[Node | Branches]()
    for each in reversed(nodes):
        if isinstance(each, Branches):
            if used.intersection(each.node.outputs):
                ways = [(_needed(inner, names), names) for inner, names in each.ways]
                used.add(each.node.inputs[0])
                used.update(name for inner, names in ways for name in (*_taken_names(inner), *names))
                kept.append(Branches(each.node, (ways[0], ways[1])))
        elif used.intersection(each.outputs):
            used.update(name for name in each.inputs if name)
            kept.append(replace(each, wanted=tuple(name in used for name in each.outputs)))
    return kept[::-1]


def _taken_names(nodes: Sequence[Node | Branches]) -> Iterator[str]:
    for each in nodes:
        if isinstance(each, Branches):
            yield each.node.inputs[0]
            for inner, names in each.ways:
                yield from (*_taken_names(inner), *names)
        else:
            yield from (name for name in each.inputs if name)


def constants_of(node: Node, constants: Mapping[str, Array]) -> list[Array | None]:
    """What is always the same of the node's inputs, in their order."""
    return [constants.get(name) for name in node.inputs]
