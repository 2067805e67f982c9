"""What moves numbers and changes none: reshapes, concatenation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sparbor.ops.arguments import Argument, Value, refuse
from sparbor.ops.operator import Lowering, NeuronRule, Operator
from sparbor.ops.targets import Graph, OnnxGraph, Writer
from sparbor.program.program import Operation

if TYPE_CHECKING:
    from torch.fx import Node


# Operators that change no number.
PASS_THROUGH = (
    "clone.default",  # also a dropout that evaluates
    "alias.default",
    "detach.default",
    "lift_fresh_copy.default",
    "_assert_tensor_metadata.default",
)
RESHAPES = (
    "view.default",
    "reshape.default",
    "_unsafe_view.default",
    "squeeze.default",
    "squeeze.dim",
    "squeeze.dims",
    "unsqueeze.default",
)


def reshape(graph: Graph, node: Node, x: Argument, *_: Argument) -> Value:
    """To the shape of the result, whose batch is the input's."""
    return graph.reshaped(graph.value(node, x), graph.result_shape(node))


def concatenate(graph: Graph, node: Node, inputs: Sequence[Argument], dim: int = 0) -> Value:
    """Of channels, or of the features of items of one dimension."""
    values = tuple(graph.value(node, each) for each in inputs)
    shape = graph.result_shape(node)
    if dim not in (1, -len(shape)):
        refuse(node, f"concatenates along dimension {dim}: the engine does along 1, the channels")
    return values[0] if len(values) == 1 else graph.append("concat", values, shape)


def _reshape_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """A 0 stands for the size that is there: the batch."""
    shape = graph.integers(f"{y}/shape", [0, *graph.program.shapes[operation.output]])
    graph.node("Reshape", [graph.name_of(operation.inputs[0]), shape], y)


def _concat_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    graph.node("Concat", [graph.name_of(value) for value in operation.inputs], y, axis=1)


def _reshape_to_c(_: Writer, __: int, ___: Operation) -> None:
    """Nothing moves: no row is padded."""


def _concat_to_c(writer: Writer, _: int, operation: Operation) -> None:
    start = 0
    for value in operation.inputs:
        count = math.prod(writer.program.shapes[value])
        writer.copy(writer.place(value), f"{writer.place(operation.output)} + {start}", count)
        start += count


OPERATORS = (
    Operator("reshape", _reshape_to_onnx, _reshape_to_c),
    Operator("concat", _concat_to_onnx, _concat_to_c, inputs=None),
)

LOWERINGS: Mapping[str, Lowering] = {"cat.default": concatenate, **dict.fromkeys(RESHAPES, reshape)}

NEURONS: Mapping[str, NeuronRule] = {
    **dict.fromkeys(PASS_THROUGH, NeuronRule("number_by_number")),
    **dict.fromkeys(RESHAPES, NeuronRule("reshaped")),
}
