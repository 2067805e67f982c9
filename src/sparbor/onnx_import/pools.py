"""Operators that make one number of each window of a plane."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from sparbor.onnx_import.node import Node, Operator, Value
from sparbor.onnx_import.values import as_tensor
from sparbor.onnx_import.windows import Window, padded, window_of

_LARGEST = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEANS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _window(node: Node, x: Tensor) -> Window:
    if x.dim() - 2 not in _LARGEST:
        node.refuse(f"pools over {x.dim() - 2} dimensions")
    return window_of(node, x, node.get("kernel_shape"))


def _is_small(window: Window) -> bool:
    """Whether PyTorch takes the padding: as much at both sides, and half the window at most."""
    return window.even and all(2 * side <= size for side, size in zip(window.before, window.kernel, strict=True))


def _max_pool(node: Node, x: Value) -> Tensor:
    node.only(1)
    given = as_tensor(x)
    window, pool, ceil = _window(node, given), _LARGEST[given.dim() - 2], bool(node.get("ceil_mode", 0))
    if _is_small(window):
        return pool(given, window.kernel, window.strides, window.before, window.dilations, ceil)
    wider = padded(given, window, value=float("-inf"))
    return pool(wider, window.kernel, window.strides, 0, window.dilations, ceil)


def _average_pool(node: Node, x: Value) -> Tensor:
    given = as_tensor(x)
    window, pool, ceil = _window(node, given), _MEANS[given.dim() - 2], bool(node.get("ceil_mode", 0))
    if max(window.dilations) > 1:
        node.refuse("has means over places that are apart (dilations)")
    counts = bool(node.get("count_include_pad", 0))
    if _is_small(window):
        return pool(given, window.kernel, window.strides, window.before, ceil, counts)
    means = pool(padded(given, window), window.kernel, window.strides, 0, ceil)
    if counts:
        return means
    there = pool(padded(torch.ones_like(given[:1, :1]), window), window.kernel, window.strides, 0, ceil)
    return means / there


def _global_average(_: Node, x: Value) -> Tensor:
    given = as_tensor(x)
    if given.dim() == 4:
        return F.adaptive_avg_pool2d(given, (1, 1))
    return given.mean(list(range(2, given.dim())), keepdim=True)


def _global_max(_: Node, x: Value) -> Tensor:
    given = as_tensor(x)
    return given.amax(list(range(2, given.dim())), keepdim=True)


def _global_norm(node: Node, x: Value) -> Tensor:
    given, p = as_tensor(x), node.get("p", 2)
    total = given.abs().pow(p).sum(list(range(2, given.dim())), keepdim=True)
    return total.pow(1 / p)


def _norm_pool(node: Node, x: Value) -> Tensor:
    given, p = as_tensor(x), node.get("p", 2)
    window = _window(node, given)
    means = _MEANS[given.dim() - 2](padded(given.abs().pow(p), window), window.kernel, window.strides)
    return (means * math.prod(window.kernel)).pow(1 / p)


OPERATORS: Mapping[str, Operator] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "GlobalLpPool": _global_norm,
    "GlobalMaxPool": _global_max,
    "LpPool": _norm_pool,
    "MaxPool": _max_pool,
}
