"""Operators that normalise."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from sparbor.onnx_import.node import Node, Operator, Value
from sparbor.onnx_import.values import as_tensor, tensors, tensors_if_given


def _batch(node: Node, *given: Value) -> Tensor:
    x, scale, bias, mean, variance = tensors(*given)
    if node.get("training_mode", 0) or not node.get("spatial", 1):
        node.refuse("normalises as in training, or each place of a plane by itself")
    node.only(1)
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, node.get("epsilon", 1e-5))


def _instance(node: Node, *given: Value) -> Tensor:
    x, scale, bias = tensors(*given)
    return F.instance_norm(x, weight=scale, bias=bias, eps=node.get("epsilon", 1e-5))


def _layer(node: Node, x: Value, scale: Value, bias: Value | None = None) -> Tensor:
    node.only(1)
    given, factors, added = tensors_if_given(x, scale, bias)
    shape, epsilon = list(given.shape[node.get("axis", -1) :]), node.get("epsilon", 1e-5)
    if all(each is None or list(each.shape) == shape for each in (factors, added)):
        return F.layer_norm(given, shape, factors, added, epsilon)
    result: Tensor = F.layer_norm(given, shape, None, None, epsilon) * factors
    return result if added is None else result + added


def _root_mean_square(node: Node, x: Value, scale: Value) -> Tensor:
    given, factors = tensors(x, scale)
    shape, epsilon = list(given.shape[node.get("axis", -1) :]), node.get("epsilon", 1e-5)
    if list(factors.shape) == shape:
        return F.rms_norm(given, shape, factors, epsilon)
    return F.rms_norm(given, shape, None, epsilon) * factors


def _group(node: Node, x: Value, scale: Value, bias: Value) -> Tensor:
    """Before operator set 21 there is one scale for each group, from then on for each channel."""
    given, factors, added = tensors_if_given(x, scale, bias)
    groups = node.get("num_groups")
    if factors.shape[0] == groups and given.shape[1] != groups:
        factors, added = (each.repeat_interleave(given.shape[1] // groups) for each in (factors, added))
    return F.group_norm(given, groups, factors, added, node.get("epsilon", 1e-5))


def _by_length(node: Node, x: Value) -> Tensor:
    return F.normalize(as_tensor(x), float(node.get("p", 2)), node.get("axis", -1))


def _mean_and_variance(node: Node, x: Value) -> Tensor:
    given, axes = as_tensor(x), list(node.get("axes", [0, 2, 3]))
    apart = given - given.mean(axes, keepdim=True)
    return apart / (torch.sqrt((apart * apart).mean(axes, keepdim=True)) + 1e-9)


def _by_neighbours(node: Node, x: Value) -> Tensor:
    """By the squares of channels around each: where their number is even there is one more behind."""
    given, size = as_tensor(x), node.get("size")
    squares = (given * given).movedim(1, -1)
    wider = F.pad(squares, ((size - 1) // 2, size // 2)).movedim(-1, 1)
    channels = given.shape[1]
    total = wider[:, :channels]
    for place in range(1, size):
        total = total + wider[:, place : place + channels]
    alpha, beta, bias = node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)
    return given / torch.pow(total * (alpha / size) + bias, beta)


OPERATORS: Mapping[str, Operator] = {
    "BatchNormalization": _batch,
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LRN": _by_neighbours,
    "LayerNormalization": _layer,
    "LpNormalization": _by_length,
    "MeanVarianceNormalization": _mean_and_variance,
    "RMSNormalization": _root_mean_square,
}
