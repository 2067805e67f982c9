"""What the engine computes of bytes that stand for numbers, once a program is quantized; no model of PyTorch says so."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import OnnxGraph
from sparbor.program.program import Operation

# To ONNX; operations on bytes come as those on floats between these two (:mod:`sparbor.export.onnx.in_floats`).


def _step_and_zero(graph: OnnxGraph, value: int) -> list[str]:
    quantization, name = graph.program.values[value].quantization, graph.name_of(value)
    assert quantization is not None  # or the engine would have refused the program
    zero = graph.constant(f"{name}/zero", np.array(quantization.zero, np.uint8))
    return [graph.scalar(f"{name}/step", quantization.step), zero]


def _quantize(graph: OnnxGraph, operation: Operation, y: str) -> None:
    x = graph.name_of(operation.inputs[0])
    graph.node("QuantizeLinear", [x, *_step_and_zero(graph, operation.output)], y)


def _dequantize(graph: OnnxGraph, operation: Operation, y: str) -> None:
    (value,) = operation.inputs
    graph.node("DequantizeLinear", [graph.name_of(value), *_step_and_zero(graph, value)], y)


OPERATORS: tuple[Operator, ...] = (
    Operator("quantize", _quantize, None),
    Operator("dequantize", _dequantize, None),
)

LOWERINGS: Mapping[str, Lowering] = {}

NEURONS: Mapping[str, str] = {}
