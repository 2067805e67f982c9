"""What the engine computes of bytes that stand for numbers, in quantized programs; no model of PyTorch says so."""

from __future__ import annotations

from collections.abc import Mapping

from sparbor.ops.operator import Lowering, Operator
from sparbor.program.windows import AverageWindow, Window

OPERATORS: tuple[Operator, ...] = (
    Operator("quantize", None, None),
    Operator("dequantize", None, None),
    Operator("quantized_map", None, None, activation="yes"),
    Operator("quantized_concat", None, None, inputs=None),
    Operator("quantized_add", None, None, inputs=2, activation="maybe"),
    Operator("quantized_scale", None, None, inputs=2),
    Operator("quantized_max_pool", None, None, settings=Window),
    Operator("quantized_average_pool", None, None, settings=AverageWindow),
    Operator("quantized_convolution", None, None, (1, 2), "yes", "maybe", Window),
)

LOWERINGS: Mapping[str, Lowering] = {}

NEURONS: Mapping[str, str] = {}
