"""Operators that multiply with weights: products of matrices and convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from sparbor.onnx_import.node import Node, Operator, Value
from sparbor.onnx_import.values import as_tensor, tensors, tensors_if_given
from sparbor.onnx_import.windows import Window, padded, window_of

Convolve: TypeAlias = Callable[..., Tensor]

_CONVOLUTIONS: Mapping[int, Convolve] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: Mapping[int, Convolve] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _matmul(_: Node, one: Value, other: Value) -> Tensor:
    return torch.matmul(*tensors(one, other))


def _gemm(node: Node, one: Value, other: Value, added: Value | None = None) -> Tensor:
    """alpha · one · other + beta · added, each turned if the node says so."""
    left, right, bias = tensors_if_given(one, other, added)
    left = left.t() if node.get("transA", 0) else left
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    bias = bias * beta if bias is not None and beta != 1 else bias
    rows = right if node.get("transB", 0) else right.t()
    if alpha != 1 and node.constant[1]:
        rows, alpha = rows * alpha, 1.0
    if alpha == 1 and (bias is None or (bias.dim() == 1 and bias.shape[0] == rows.shape[0])):
        return F.linear(left, rows, bias)
    product = F.linear(left, rows) * alpha if alpha != 1 else F.linear(left, rows)
    return product if bias is None else product + bias


def _over_dimensions(node: Node, functions: Mapping[int, Convolve], x: Tensor) -> Convolve:
    """The one for as many dimensions as the planes have."""
    dimensions = x.dim() - 2
    return functions[dimensions] if dimensions in functions else node.refuse(f"convolves over {dimensions} dimensions")


def convolution(node: Node, x: Value, weight: Value, bias: Value | None = None) -> Tensor:
    """Over one to three dimensions; padding that is not the same at both sides is put around first."""
    given, kernel, added = tensors_if_given(x, weight, bias)
    convolve = _over_dimensions(node, _CONVOLUTIONS, given)
    window = window_of(node, given, kernel.shape[2:])
    sides: Any = window.before
    if not window.even:
        given, sides = padded(given, window), 0
    return convolve(given, kernel, added, window.strides, sides, window.dilations, node.get("group", 1))


def _transposed(node: Node, x: Value, weight: Value, bias: Value | None = None) -> Tensor:
    """Padding is what is cut off from each side of the result."""
    given, kernel, added = tensors_if_given(x, weight, bias)
    convolve = _over_dimensions(node, _TRANSPOSED, given)
    window = window_of(node, given, kernel.shape[2:])
    more = list(node.get("output_padding", [0] * len(window.kernel)))
    if (shape := _wanted_shape(node, given, window)) is not None:
        window = _cut_to(node, window, [*given.shape[2:]], more, shape)
    groups = node.get("group", 1)
    fits = window.even and all(a < max(b, c) for a, b, c in zip(more, window.strides, window.dilations, strict=True))
    if fits and min(window.before) >= 0:
        return convolve(given, kernel, added, window.strides, window.before, more, groups, window.dilations)
    whole = convolve(given, kernel, added, window.strides, 0, 0, groups, window.dilations)
    after = [cut - extra for cut, extra in zip(window.after, more, strict=True)]
    sides = [-side for pair in reversed(list(zip(window.before, after, strict=True))) for side in pair]
    return _with_bias_in_what_is_new(F.pad(whole, sides), added, after)


def _with_bias_in_what_is_new(y: Tensor, bias: Tensor | None, after: list[Any]) -> Tensor:
    """Places that no input reaches have the bias alone."""
    if bias is None:
        return y
    for place, cut in enumerate(after):
        if cut < 0:
            axis = place + 2
            kept, new = y.narrow(axis, 0, y.shape[axis] + cut), y.narrow(axis, y.shape[axis] + cut, -cut)
            column = bias.reshape(1, -1, *[1] * (y.dim() - 2))
            y = torch.cat([kept, torch.zeros_like(new) + column], axis)
    return y


def _wanted_shape(node: Node, x: Tensor, window: Window) -> list[Any] | None:
    if (shape := node.get("output_shape")) is not None:
        return list(shape)[-len(window.kernel) :]
    if node.get("auto_pad", "NOTSET").startswith("SAME"):
        return [size * stride for size, stride in zip(x.shape[2:], window.strides, strict=True)]
    return None


def _cut_to(node: Node, window: Window, sizes: list[Any], more: list[int], shape: list[Any]) -> Window:
    """Padding so that the result has a shape; the odd place is cut off behind, unless the node says otherwise."""
    totals = [
        window.strides[place] * (size - 1) + more[place] + window.reach(place) - shape[place]
        for place, size in enumerate(sizes)
    ]
    less = [max(0, each) // 2 for each in totals]
    rest = [each - cut for each, cut in zip(totals, less, strict=True)]  # what is missing is added behind
    before, after = (rest, less) if node.get("auto_pad", "NOTSET") == "SAME_LOWER" else (less, rest)
    return Window(window.kernel, window.strides, window.dilations, before, after)


def _einsum(node: Node, *given: Value) -> Tensor:
    return torch.einsum(node.get("equation"), *(as_tensor(each) for each in given))


OPERATORS: Mapping[str, Operator] = {
    "Conv": convolution,
    "ConvTranspose": _transposed,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
