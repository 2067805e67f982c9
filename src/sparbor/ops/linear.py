"""Linear layers: y = x · Wᵀ + b over the last dimension."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sparbor.ops.arguments import Argument, Constant, Value, refuse
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph, Writer
from sparbor.packing.dense_weights import DenseWeights
from sparbor.packing.slots import SparseLayer
from sparbor.program.program import Operation

if TYPE_CHECKING:
    from torch.fx import Node


def linear(graph: Graph, node: Node, x: Argument, weight: Argument, bias: Argument = None) -> Value:
    """Over the last dimension."""
    if not isinstance(weight, Constant) or not (bias is None or isinstance(bias, Constant)):
        refuse(node, "is a linear layer with a computed weight or bias")
    value, shape = graph.value(node, x), graph.result_shape(node)
    name = graph.layer_name(node, weight)
    graph.layer_weights(name, weight, bias)
    rows = graph.reshaped(value, (1, *graph.shape(value))) if len(shape) == 1 else value
    return graph.reshaped(graph.append("linear", (rows,), (*graph.shape(rows)[:-1], shape[-1]), layer=name), shape)


def product_with_weight(graph: Graph, node: Node, x: Argument, weight: Constant, bias: Argument = None) -> Value:
    """x · W + b, the matrix as (inputs, outputs)."""
    mask = None if weight.mask is None else weight.mask.t()
    return linear(graph, node, x, Constant(weight.tensor.t(), weight.name, mask), bias)


def to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Gemm for one row an item; it takes no more, so that several are a product and a sum."""
    layer = graph.program.layers[str(operation.layer)]
    assert isinstance(layer, SparseLayer | DenseWeights)
    x, weight = graph.name_of(operation.inputs[0]), layer.unpack()[0]
    bias = [] if layer.bias is None else [graph.constant(f"{operation.layer}/bias", layer.bias)]
    if len(graph.program.values[operation.output].shape) == 2:
        graph.node("Gemm", [x, graph.constant(f"{operation.layer}/weight", weight), *bias], y, transB=1)
        return
    turned = graph.constant(f"{operation.layer}/weight_transposed", np.ascontiguousarray(weight.T))
    product = graph.node("MatMul", [x, turned], None if bias else y)
    if bias:
        graph.node("Add", [product, *bias], y)


def to_c(writer: Writer, _: int, operation: Operation) -> None:
    """One function for each encoding; words of a layer with padding take another."""
    kind, layer = writer.weights(str(operation.layer))
    *rows, inputs = writer.x_shape(operation)
    weights = writer.program.layers[str(operation.layer)]
    if kind == "sparse_words" and isinstance(weights, SparseLayer) and weights.padded:
        kind = "padded_words"
    writer.call(f"linear_{kind}", layer, inputs, math.prod(rows), *writer.x_and_y(operation))


OPERATORS = (Operator("linear", to_onnx, to_c, layer="yes", activation="maybe"),)

LOWERINGS: Mapping[str, Lowering] = {"linear.default": linear}

NEURONS: Mapping[str, str] = {"linear.default": "layer_rule"}
