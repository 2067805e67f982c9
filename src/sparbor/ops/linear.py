"""Linear layers: y = x · Wᵀ + b over the last dimension."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sparbor.ops.arguments import Argument, Constant, Value
from sparbor.ops.arithmetic import of_one_rank, of_two
from sparbor.ops.onnx_weights import OnnxWeights
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph, Writer
from sparbor.packing.slots import SparseLayer
from sparbor.program.program import Dimension, Operation

if TYPE_CHECKING:
    from torch.fx import Node


def linear(graph: Graph, node: Node, x: Argument, weight: Argument, bias: Argument = None) -> Value:
    """Over the last dimension."""
    if not isinstance(weight, Constant) or not (bias is None or isinstance(bias, Constant)):
        return _with_computed_weight(graph, node, x, weight, bias)
    value, shape = graph.value(node, x), graph.result_shape(node)
    name = graph.layer_name(node, weight)
    graph.layer_weights(name, weight, bias)
    rows = graph.reshaped(value, (1, *graph.shape(value))) if len(shape) == 1 else value
    return graph.reshaped(graph.append("linear", (rows,), (*graph.shape(rows)[:-1], shape[-1]), layer=name), shape)


def _with_computed_weight(graph: Graph, node: Node, x: Argument, weight: Argument, bias: Argument) -> Value:
    """A product of two values, and the bias added."""
    made = product(graph, node, graph.value(node, x), graph.permuted(graph.value(node, weight), (1, 0)))
    return made if bias is None else of_two(graph, node, "add", made, bias)


def product(graph: Graph, node: Node, left: Value, right: Value) -> Value:
    """Of the last two dimensions, those before broadcast; a row or a column is a matrix meanwhile."""
    own = [graph.shape(left), graph.shape(right)]
    left = graph.reshaped(left, (1, *own[0])) if len(own[0]) == 1 else left
    right = graph.reshaped(right, (*own[1], 1)) if len(own[1]) == 1 else right
    left, right = of_one_rank(graph, (left, right))
    around: list[Dimension] = [
        two if one == 1 else one for one, two in zip(graph.shape(left)[:-2], graph.shape(right)[:-2], strict=True)
    ]
    shape = (*around, graph.shape(left)[-2], graph.shape(right)[-1])
    return graph.reshaped(graph.append("matmul", (left, right), shape), graph.result_shape(node))


def product_with_weight(graph: Graph, node: Node, x: Argument, weight: Constant, bias: Argument = None) -> Value:
    """x · W + b, the matrix as (inputs, outputs)."""
    mask = None if weight.mask is None else weight.mask.t()
    return linear(graph, node, x, Constant(weight.tensor.t(), weight.name, mask), bias)


def to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Gemm for one row an item; it takes no more, so that several are a product and a sum.

    So are layers of 8 bits: ONNX Runtime multiplies whole numbers if a MatMul follows their DequantizeLinear.
    """
    x, layer = graph.name_of(operation.inputs[0]), OnnxWeights.of(graph, operation)
    bias = [] if layer.bias is None else [graph.constant(f"{operation.layer}/bias", layer.bias)]
    if layer.scale is None and len(graph.program.values[operation.output].shape) == 2:
        graph.node("Gemm", [x, layer.constant(graph, f"{operation.layer}/weight", layer.rows, 0), *bias], y, transB=1)
        return
    turned = layer.constant(graph, f"{operation.layer}/weight_transposed", layer.rows.T, 1)
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
    sizes, places = (inputs, math.prod(rows)), writer.x_and_y(operation)
    if kind.endswith("int8"):
        by, scratch = writer.row_scales(str(operation.layer)), writer.scratch_of(inputs)
        writer.call(f"linear_{kind}", layer, by, *sizes, *places, scratch)
    else:
        writer.call(f"linear_{kind}", layer, *sizes, *places)


OPERATORS = (Operator("linear", to_onnx, to_c, layer="yes", activation="maybe"),)

LOWERINGS: Mapping[str, Lowering] = {"linear.default": linear}

NEURONS: Mapping[str, str] = {"linear.default": "layer_rule"}
