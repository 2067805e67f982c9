"""Operators that make whole numbers of floats and back. Between the two lie weights or activations of 8 bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from onnx import TensorProto
from torch import Tensor

from sparbor.onnx_import.node import Node, Operator, Value
from sparbor.onnx_import.values import as_tensor, torch_type

_BOUNDS = {torch.uint8: (0, 255), torch.int8: (-128, 127)}


def _along(node: Node, given: Value, x: Tensor) -> Any:
    """Scales or zeros as what they belong to: one for all, or one for each place of an axis."""
    value = as_tensor(given)
    if value.dim() == 0 or (value.numel() == 1 and value.dim() == 1):
        return value.reshape(())
    if node.get("block_size", 0) or value.dim() > 1:
        node.refuse("has scales for blocks of numbers that are computed")
    shape = [1] * x.dim()
    shape[node.get("axis", 1)] = -1
    return value.reshape(shape)


def _quantize(node: Node, x: Value, scale: Value, zero: Value | None = None) -> Tensor:
    given = as_tensor(x)
    kind = node.get("output_dtype", 0) or TensorProto.UINT8
    dtype = torch_type(node, kind) if zero is None else as_tensor(zero).dtype
    if dtype not in _BOUNDS:
        node.refuse("makes whole numbers of more or of fewer than 8 bits")
    steps = torch.round(given / _along(node, scale, given))
    if zero is not None:
        steps = steps + _along(node, zero, given).to(torch.float32)
    return torch.clamp(steps, *_BOUNDS[dtype]).to(dtype)


def _dequantize(node: Node, x: Value, scale: Value, zero: Value | None = None) -> Tensor:
    given = as_tensor(x)
    steps = given.to(torch.float32)
    if zero is not None:
        steps = steps - _along(node, zero, given).to(torch.float32)
    floats: Tensor = steps * _along(node, scale, given)
    return floats


def _saturate(node: Node, x: Value, scale: Value, zero: Value | None = None) -> Tensor:
    """What is left of a QuantizeLinear and the DequantizeLinear behind it: its range, without its rounding.

    The range often stands for an activation: a ReLU is left out where no step stands for a number below 0.
    """
    given = as_tensor(x)
    dtype = torch.uint8 if zero is None else as_tensor(zero).dtype
    if dtype not in _BOUNDS:
        return given
    step = _along(node, scale, given)
    place = 0 if zero is None else _along(node, zero, given).to(torch.float32)
    low, high = ((bound - place) * step for bound in _BOUNDS[dtype])
    if low.dim() == 0:
        return torch.clamp(given, low.item(), high.item())
    return torch.minimum(torch.maximum(given, low), high)


def _quantize_by_range(node: Node, x: Value) -> tuple[Tensor, Tensor, Tensor]:
    """By the range of all numbers that are given, 0 among them."""
    given = as_tensor(x)
    low, high = torch.clamp(given.amin(), max=0.0), torch.clamp(given.amax(), min=0.0)
    scale = (high - low) / 255
    safe = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = torch.clamp(torch.round(-low / safe), 0, 255)
    steps = torch.clamp(torch.round(given / safe) + zero, 0, 255)
    return steps.to(torch.uint8), scale, zero.to(torch.uint8)


def _matmul_of_integers(node: Node, one: Value, other: Value, *zeros: Value | None) -> Tensor:
    """In floats, which are exact as far as sums of some hundred products of bytes go."""
    parts = []
    for place, given in enumerate((one, other)):
        x, zero = as_tensor(given).to(torch.float32), zeros[place] if len(zeros) > place else None
        if zero is not None:
            shift = as_tensor(zero).to(torch.float32)
            x = x - (shift.unsqueeze(-1) if place == 0 and shift.dim() else shift)
        parts.append(x)
    return torch.matmul(*parts).round().to(torch.int32)


SATURATE = "sparbor.Saturate"  # what a pair of nodes becomes; no file has it

OPERATORS: Mapping[str, Operator] = {
    SATURATE: _saturate,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _quantize_by_range,
    "MatMulInteger": _matmul_of_integers,
    "QuantizeLinear": _quantize,
}
