"""`pack`: an ONNX model whose sparse layers are nodes of ours, and what became of each."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from sparbor.errors import ArgumentError
from sparbor.export.onnx.own_nodes import DOMAIN, VERSION
from sparbor.onnx.comparing import largest_difference
from sparbor.onnx.layers import Found, LeftError, layers_in, name_of
from sparbor.onnx.orders import in_better_orders
from sparbor.onnx.packed_layer import PackedLayer, packed
from sparbor.onnx.reading import read
from sparbor.onnx.report import Row, table
from sparbor.onnx.scopes import FOLDED, Scope
from sparbor.packing.slots import Encoding
from sparbor.progress import shown, tell

MIN_SPARSITY = 0.6
_MOST_FILLED = 0.7  # of the weights: zeros that lie so that more places are needed are not worth leaving out
_MOST_DIFFERENCE = 0.25  # of the largest answer: beyond it something is wrong, and not rounded


@dataclass(frozen=True)
class Packed:
    """A packed model, and a row for each node that multiplies with weights.

    ``difference`` is how far its answers were from the original's, of the largest one, or why that is not known.
    """

    model: ModelProto
    rows: tuple[Row, ...]
    difference: float | str

    def __str__(self) -> str:
        return table(self.rows, self.difference)


@shown("pack")
def pack(
    model: ModelProto | str | os.PathLike[str],
    weights: str = "int8",
    min_sparsity: float = MIN_SPARSITY,
    inputs: Mapping[str, Any] | None = None,
) -> Packed:
    """Replace a model's sparse layers by nodes that compute with what is left of them, in ONNX Runtime.

    MatMul and Gemm with a constant matrix and Conv with a constant kernel are taken, with the bias and the activation
    that follow, in the graph and in its subgraphs, if enough of the weights are zero. Everything else stays as it is.
    ONNX Runtime needs `sparbor.onnxruntime.library_path` for the result.

    Args:
        model: an ONNX model or its file. A model in memory stays as it is.
        weights: how they are stored: "int8" (linear layers of 8 bits, whose inputs are rounded row by row; convolutions
            of 16), "word16" or "exact".
        min_sparsity: the least share of zeros, between 0 and 1, of a layer that is taken.
        inputs: what both models are run with, arrays by their names, to compare the answers. Without them numbers are
            made up, which some models do not run with.

    Raises:
        ArgumentError: it is no ONNX model, of an operator set that is not known, packed already, or has no layer that
            is sparse enough; or the packed model answers otherwise.

    >>> from onnx.helper import *
    >>> weight = numpy_helper.from_array(np.eye(64, dtype=np.float32), "w")
    >>> ports = [make_tensor_value_info(name, 1, ["rows", 64]) for name in "xy"]
    >>> graph = make_graph([make_node("MatMul", ["x", "w"], ["y"])], "g", ports[:1], ports[1:], [weight])
    >>> result = pack(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8), weights="exact")
    >>> [node.op_type for node in result.model.graph.node]
    ['SparseLinear']
    """
    _check(weights, min_sparsity)
    original = read(model)
    result = copy.deepcopy(original)
    worker = _Packing(result, Encoding(weights), min_sparsity)
    rows = tuple(worker.rows())
    if not worker.taken:
        raise ArgumentError(_nothing_taken(rows, min_sparsity))
    result.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    tell("compares the answers in ONNX Runtime")
    difference = largest_difference(original, result, inputs)
    if isinstance(difference, float) and not difference <= _MOST_DIFFERENCE:
        raise ArgumentError(
            f"the packed model's answers are {difference:.2g} of the largest one away from the original's: store the"
            f" weights more finely than weights={weights!r}, or pass inputs that the model is made for"
        )
    return Packed(result, rows, difference)


def _check(weights: str, min_sparsity: float) -> None:
    ways = [each.value for each in Encoding]
    if weights not in ways:
        raise ArgumentError(f"weights={weights!r}: it must be one of {', '.join(ways)}")
    if not isinstance(min_sparsity, (int, float)) or not 0 < min_sparsity <= 1:
        raise ArgumentError(f"min_sparsity={min_sparsity!r}: it must be a share of zeros, above 0 and at most 1")


def _nothing_taken(rows: tuple[Row, ...], min_sparsity: float) -> str:
    if not rows:
        return "the model has no MatMul, Gemm or Conv: there is nothing to pack"
    sparsest = max(rows, key=lambda row: row.sparsity)
    return (
        f"no layer can be packed: the sparsest of {len(rows)}, {sparsest.name!r}, has {sparsest.sparsity:.0%} zeros"
        f" ({sparsest.why}). Make the model sparse first, or pass a smaller min_sparsity than {min_sparsity}"
    )


class _Packing:
    """A model whose graphs are rewritten one after the other; ``taken`` counts layers."""

    def __init__(self, model: ModelProto, weights: Encoding, min_sparsity: float) -> None:
        self.model, self.weights, self.min_sparsity = model, weights, min_sparsity
        self.taken = 0
        self._initializers: dict[bytes, str] = {}

    def rows(self) -> Iterator[Row]:
        """Rewrite all graphs; a row for each node that multiplies with weights."""
        opset = next(each.version for each in self.model.opset_import if each.domain in ("", "ai.onnx"))
        for scope in Scope(self.model.graph, opset).all():
            yield from self._rewrite(scope)
        _drop_unused(self.model)

    def _rewrite(self, scope: Scope) -> Iterator[Row]:
        found = list(layers_in(scope))
        fit = [layer for _, layer in found if isinstance(layer, Found) and layer.sparsity >= self.min_sparsity]
        ordered = {layer.nodes[0].output[0]: layer for layer in in_better_orders(scope, fit, self.weights)}
        for done, (node, layer) in enumerate(found):
            tell(name_of(node), done, len(found))
            if isinstance(layer, LeftError):
                yield Row(name_of(node), node.op_type, (), 0.0, why=str(layer))
            elif layer.sparsity < self.min_sparsity:
                yield self._left(layer, f"less than {self.min_sparsity:.0%} of its weights are zero")
            else:
                yield self._take(scope.graph, ordered[node.output[0]])

    def _left(self, layer: Found, why: str) -> Row:
        return Row(layer.name, layer.nodes[0].op_type, layer.matrix.shape, layer.sparsity, why=why)

    def _take(self, graph: GraphProto, layer: Found) -> Row:
        try:
            made = packed(layer, self.weights)
        except ArgumentError as error:
            return self._left(layer, str(error))
        if made.places > _MOST_FILLED * layer.matrix.size:
            share = made.places / layer.matrix.size
            return self._left(layer, f"its zeros lie so that {share:.0%} of the places would be needed")
        self.taken += 1
        _replace(graph, layer, self._initializer(made), str(self.taken))
        return Row(
            layer.name,
            layer.nodes[0].op_type,
            layer.matrix.shape,
            layer.sparsity,
            bytes_before=layer.matrix.size * (2 if layer.half else 4),
            bytes_after=len(made.content),
            fewer=layer.matrix.size / max(1, made.places),
            error=made.error,
            why=made.note,
        )

    def _initializer(self, made: PackedLayer) -> str:
        """The name of the constant of the outermost graph that has the layer's bytes; equal ones are there once."""
        if made.content not in self._initializers:
            name = f"sparbor/{len(self._initializers)}/{made.found.name}"
            self._initializers[made.content] = name
            array = np.frombuffer(made.content, np.uint8)
            self.model.graph.initializer.append(numpy_helper.from_array(array, name))
        return self._initializers[made.content]


def _replace(graph: GraphProto, layer: Found, constant: str, number: str) -> None:
    """Put our node where the last one that it replaces stands."""
    names = {name for node in layer.nodes for name in node.output}
    nodes = [node for node in graph.node if not names.intersection(node.output)]
    last = max(place for place, node in enumerate(graph.node) if names.intersection(node.output))
    before = sum(not names.intersection(node.output) for node in list(graph.node)[:last])
    ours = list(_nodes(layer, constant, number))
    nodes[before:before] = ours
    del graph.node[:]
    graph.node.extend(nodes)
    shown = [each for each in graph.value_info if each.name not in names or each.name == layer.y]
    del graph.value_info[:]
    graph.value_info.extend(shown)


def _nodes(layer: Found, constant: str, number: str) -> Iterator[NodeProto]:
    """Ours, and around it casts of halves."""
    x, y = layer.x, layer.y
    if layer.half:
        x, y = f"sparbor/{number}/x", f"sparbor/{number}/y"
        yield helper.make_node("Cast", [layer.x], [x], f"{x}/cast", to=onnx.TensorProto.FLOAT)
    yield helper.make_node(layer.operator, [x, constant], [y], layer.name, domain=DOMAIN)
    if layer.half:
        yield helper.make_node("Cast", [y], [layer.y], f"{y}/cast", to=onnx.TensorProto.FLOAT16)


def _drop_unused(model: ModelProto) -> None:
    """Leave out constants, and the nodes between them and a weight, that nothing reads any more."""
    scopes = list(Scope(model.graph, 0).all())
    while any([_dropped(scope) for scope in scopes]):
        scopes = list(Scope(model.graph, 0).all())


def _dropped(scope: Scope) -> bool:
    graph = scope.graph
    unused = [each for each in graph.initializer if not scope.uses[each.name] and each.name in scope.initializers]
    idle = [node for node in graph.node if not any(scope.uses[name] for name in node.output)]
    idle = [node for node in idle if node.op_type in FOLDED and not node.domain]
    for each in unused:
        graph.initializer.remove(each)
    for node in idle:
        graph.node.remove(node)
    return bool(unused or idle)
