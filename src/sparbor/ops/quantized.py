"""What the engine computes of bytes that stand for numbers, in quantized programs alone: PyTorch says none of it."""

from __future__ import annotations

from collections.abc import Mapping

from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.quantized_onnx import dequantize, quantize
from sparbor.program.windows import Window

OPERATORS: tuple[Operator, ...] = (
    Operator("quantize", quantize, None),
    Operator("dequantize", dequantize, None),
    Operator("quantized_convolution", None, None, (1, 2), "yes", "maybe", Window),
)

LOWERINGS: Mapping[str, Lowering] = {}

NEURONS: Mapping[str, str] = {}
