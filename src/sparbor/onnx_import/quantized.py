"""Operators that make whole numbers of floats and back. Between the two lie weights or activations of 8 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from sparbor.onnx_import.layers import convolution
from sparbor.onnx_import.node import Array, Node, Operator, Value
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


def _quantize_by_range(_: Node, x: Value) -> tuple[Tensor, Array, Array]:
    """By the range of what is given, which is left out here: steps are the numbers themselves, of size 1 from 0 on.

    The engine rounds inputs of layers by itself, row by row, where it is asked for 8 bits.
    """
    return as_tensor(x), np.array(1, np.float32), np.array(0, np.float32)


def _matmul_of_integers(_: Node, one: Value, other: Value, *zeros: Value | None) -> Tensor:
    left, right = _from_zero(one, zeros[:1], -1), _from_zero(other, zeros[1:], None)
    return _sums(torch.matmul(left, right), one)


def _convolution_of_integers(node: Node, x: Value, weight: Value, *zeros: Value | None) -> Tensor:
    return _sums(convolution(node, _from_zero(x, zeros[:1], None), _from_zero(weight, zeros[1:], 0)), x)


def _from_zero(given: Value, zeros: Sequence[Value | None], axis: int | None) -> Tensor:
    """Whole numbers as floats, counted from their zero: one for all, or one for each place of an axis."""
    x = as_tensor(given).to(torch.float32)
    if not zeros or zeros[0] is None:
        return x
    zero = as_tensor(zeros[0]).to(torch.float32)
    if zero.dim() and axis is not None:
        zero = zero.reshape(*zero.shape, *[1] * (1 if axis else x.dim() - 1))
    return x - zero


def _sums(products: Tensor, given: Value) -> Tensor:
    """Of whole numbers whole ones: floats are exact as far as sums of some hundred products of bytes go."""
    return products if as_tensor(given).is_floating_point() else products.round().to(torch.int32)


SATURATE = "sparbor.Saturate"  # what a pair of nodes becomes; no file has it

OPERATORS: Mapping[str, Operator] = {
    SATURATE: _saturate,
    "ConvInteger": _convolution_of_integers,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _quantize_by_range,
    "MatMulInteger": _matmul_of_integers,
    "QuantizeLinear": _quantize,
}
