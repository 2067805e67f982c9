"""Numbers as bytes and back in ONNX.

Operations on bytes come as those on floats between these two: :mod:`sparbor.export.onnx.in_floats`.
"""

from __future__ import annotations

import numpy as np

from sparbor.ops.targets import OnnxGraph
from sparbor.program.program import Operation


def _step_and_zero(graph: OnnxGraph, value: int) -> list[str]:
    quantization, name = graph.program.values[value].quantization, graph.name_of(value)
    assert quantization is not None  # or the engine would have refused the program
    zero = graph.constant(f"{name}/zero", np.array(quantization.zero, np.uint8))
    return [graph.scalar(f"{name}/step", quantization.step), zero]


def quantize(graph: OnnxGraph, operation: Operation, y: str) -> None:
    x = graph.name_of(operation.inputs[0])
    graph.node("QuantizeLinear", [x, *_step_and_zero(graph, operation.output)], y)


def dequantize(graph: OnnxGraph, operation: Operation, y: str) -> None:
    (value,) = operation.inputs
    graph.node("DequantizeLinear", [graph.name_of(value), *_step_and_zero(graph, value)], y)
