"""What the engine computes of bytes that stand for numbers, once a program is quantized; no model of PyTorch says so."""

from __future__ import annotations

from collections.abc import Mapping

from sparbor.ops import quantized_c, quantized_onnx
from sparbor.ops.operator import Lowering, Operator
from sparbor.program.windows import Window

OPERATORS: tuple[Operator, ...] = (
    Operator("quantize", quantized_onnx.quantize, quantized_c.quantize),
    Operator("dequantize", quantized_onnx.dequantize, quantized_c.dequantize),
    Operator("quantized_convolution", None, quantized_c.quantized_convolution, (1, 2), "yes", "maybe", Window),
)

LOWERINGS: Mapping[str, Lowering] = {}

NEURONS: Mapping[str, str] = {}
