"""What the engine computes of bytes that stand for numbers, once a program is quantized; no model of PyTorch says so."""

from __future__ import annotations

from collections.abc import Mapping

from sparbor.ops.operator import Lowering, Operator
from sparbor.program.windows import Window

OPERATORS: tuple[Operator, ...] = (
    Operator("quantize", None, None),
    Operator("dequantize", None, None),
    Operator("quantized_convolution", None, None, (1, 2), "yes", "maybe", Window),
)

LOWERINGS: Mapping[str, Lowering] = {}

NEURONS: Mapping[str, str] = {}
