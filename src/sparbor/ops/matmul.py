"""Products of matrices that are both computed, and what is a linear layer after all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sparbor.ops.arguments import Argument, Constant, Value, is_value
from sparbor.ops.arithmetic import of_two
from sparbor.ops.linear import product, product_with_weight
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph
from sparbor.program.program import Operation

if TYPE_CHECKING:
    from torch.fx import Node


# From PyTorch.


def matmul(graph: Graph, node: Node, left: Argument, right: Argument) -> Value:
    """Of the last two dimensions; those before are broadcast."""
    if isinstance(right, Constant) and right.tensor.dim() == 2 and is_value(left):
        return product_with_weight(graph, node, left, right)
    return product(graph, node, graph.value(node, left), graph.value(node, right))


def add_product(
    graph: Graph, node: Node, bias: Argument, left: Argument, right: Argument, *, beta: float = 1, alpha: float = 1
) -> Value:
    """beta · bias + alpha · left @ right."""
    is_layer = isinstance(right, Constant) and right.tensor.dim() == 2 and is_value(left)
    if is_layer and isinstance(bias, Constant) and bias.tensor.dim() == 1 and beta == alpha == 1:
        return product_with_weight(graph, node, left, right, bias)
    made = matmul(graph, node, left, right)
    if alpha != 1:
        made = of_two(graph, node, "multiply", made, alpha)
    if beta == 0:
        return made
    return of_two(graph, node, "add", made, bias if beta == 1 else of_two(graph, node, "multiply", bias, beta))


def bilinear(
    graph: Graph, node: Node, left: Argument, right: Argument, weight: Constant, bias: Argument = None
) -> Value:
    """x · W[k] · y + b[k] for each output k: all W[k] are one layer, whose answers are multiplied by y."""
    outputs, inputs, others = weight.tensor.shape
    rows = weight.tensor.transpose(1, 2).reshape(outputs * others, inputs)
    mask = None if weight.mask is None else weight.mask.transpose(1, 2).reshape(rows.shape)
    value, shape = graph.value(node, left), graph.result_shape(node)
    name = graph.layer_name(node, weight)
    graph.layer_weights(name, Constant(rows, weight.name, mask), None)
    flat = graph.append("linear", (value,), (*shape[:-1], outputs * others), layer=name)
    apart = graph.reshaped(flat, (*shape[:-1], outputs, others))
    column = graph.reshaped(graph.value(node, right), (*shape[:-1], others, 1))
    made = product(graph, node, apart, column)
    return made if bias is None else of_two(graph, node, "add", made, bias)


# To ONNX.


def _to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    graph.node("MatMul", [graph.name_of(value) for value in operation.inputs], y)


OPERATORS = (Operator("matmul", _to_onnx, None, inputs=2),)

LOWERINGS: Mapping[str, Lowering] = {
    "matmul.default": matmul,
    "mm.default": matmul,
    "bmm.default": matmul,
    "mv.default": matmul,
    "dot.default": matmul,
    "addmm.default": add_product,
    "baddbmm.default": add_product,
    "bilinear.default": bilinear,
}

NEURONS: Mapping[str, str] = {}
