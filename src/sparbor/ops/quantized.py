"""What the engine computes of bytes that stand for numbers, in quantized programs alone: PyTorch says none of it."""

from __future__ import annotations

from collections.abc import Mapping

from sparbor.ops import quantized_c, quantized_onnx
from sparbor.ops.operator import Lowering, Operator
from sparbor.program.windows import AverageWindow, Window

# In ONNX the others are their like on floats, between these two.
OPERATORS: tuple[Operator, ...] = (
    Operator("quantize", quantized_onnx.quantize, quantized_c.quantize),
    Operator("dequantize", quantized_onnx.dequantize, quantized_c.dequantize),
    Operator("quantized_map", None, quantized_c.quantized_map, activation="yes", in_place_in_c=True),
    Operator("quantized_concat", None, quantized_c.quantized_concat, inputs=None),
    Operator("quantized_add", None, quantized_c.quantized_add, inputs=2, activation="maybe", in_place_in_c=True),
    Operator("quantized_scale", None, quantized_c.quantized_scale, inputs=2),
    Operator("quantized_max_pool", None, quantized_c.quantized_max_pool, settings=Window),
    Operator("quantized_average_pool", None, quantized_c.quantized_average_pool, settings=AverageWindow),
    Operator("quantized_convolution", None, quantized_c.quantized_convolution, (1, 2), "yes", "maybe", Window),
)

LOWERINGS: Mapping[str, Lowering] = {}

NEURONS: Mapping[str, str] = {}
