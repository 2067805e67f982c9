"""What the engine computes of bytes that stand for numbers, once a program is quantized; no model of PyTorch says so."""

from __future__ import annotations

from collections.abc import Mapping

from sparbor.ops.operator import Lowering, Operator

OPERATORS: tuple[Operator, ...] = (
    Operator("quantize", None, None),
    Operator("dequantize", None, None),
)

LOWERINGS: Mapping[str, Lowering] = {}

NEURONS: Mapping[str, str] = {}
