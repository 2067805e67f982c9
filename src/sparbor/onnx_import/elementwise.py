"""Operators that compute each number by itself: arithmetic, comparisons, functions and activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sparbor.onnx_import.node import Node, Operator, Value
from sparbor.onnx_import.values import as_tensor, scalar_or_tensor, tensors, torch_type


def _of_one(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda _, x: function(as_tensor(x))


def _of_two(function: Callable[[Any, Any], Tensor]) -> Operator:
    """A function of two tensors, or of a tensor and a number."""

    def applied(_: Node, one: Value, other: Value) -> Tensor:
        left, right = scalar_or_tensor(one), scalar_or_tensor(other)
        if not isinstance(left, Tensor):  # a number on the left is no argument that all functions take
            left = as_tensor(one)
        return function(left, right)

    return applied


def _of_many(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """A function of two tensors, over any number of them."""

    def applied(_: Node, first: Value, *others: Value) -> Tensor:
        result = as_tensor(first)
        for each in others:
            result = function(result, as_tensor(each))
        return result

    return applied


def _mean(node: Node, *given: Value) -> Tensor:
    total: Tensor = _of_many(torch.add)(node, *given)  # type: ignore[assignment]
    return total / len(given)


def _divided(one: Tensor, other: Any) -> Tensor:
    """Whole numbers are rounded towards zero, which the engine does by sizes and signs."""
    if one.is_floating_point():
        return torch.div(one, other)
    divisor = other if isinstance(other, Tensor) else torch.full_like(one, other)
    quotient = torch.div(one.abs(), divisor.abs(), rounding_mode="floor")
    return torch.where((one < 0) == (divisor < 0), quotient, -quotient)


def _mod(node: Node, one: Value, other: Value) -> Tensor:
    """With the sign of the divisor, or as in C with that of what is divided."""
    x, y = tensors(one, other)
    if not node.get("fmod", 0):
        return torch.remainder(x, y)
    return x - y * (torch.trunc(x / y) if x.is_floating_point() else _divided(x, y))


def _power(one: Tensor, other: Any) -> Tensor:
    if isinstance(other, Tensor) and other.is_floating_point() and not one.is_floating_point():
        return torch.pow(one.float(), other).to(one.dtype)
    return torch.pow(one, other).to(one.dtype)


def _is_infinite(node: Node, x: Value) -> Tensor:
    positive, negative = node.get("detect_positive", 1), node.get("detect_negative", 1)
    given = as_tensor(x)
    found = torch.isinf(given)
    if positive and negative:
        return found
    return found & ((given > 0) if positive else (given < 0)) if positive or negative else torch.zeros_like(found)


def _clip(node: Node, x: Value, *bounds: Value | None) -> Tensor:
    """Bounds are inputs from operator set 11 on; before they were attributes."""
    low, high = (*bounds, None, None)[:2] if node.opset >= 11 else (None, None)
    given = as_tensor(x)
    least = node.get("min") if low is None else scalar_or_tensor(low)
    most = node.get("max") if high is None else scalar_or_tensor(high)
    if least is None and most is None:
        return given
    if isinstance(least, Tensor) or isinstance(most, Tensor):
        given = given if least is None else torch.maximum(given, torch.as_tensor(least, dtype=given.dtype))
        return given if most is None else torch.minimum(given, torch.as_tensor(most, dtype=given.dtype))
    return torch.clamp(given, least, most)


def _cast(node: Node, x: Value) -> Tensor:
    return _of_type(as_tensor(x), torch_type(node, node.get("to")))


def _cast_like(_: Node, x: Value, like: Value) -> Tensor:
    return _of_type(as_tensor(x), as_tensor(like).dtype)


def _of_type(x: Tensor, dtype: torch.dtype) -> Tensor:
    if x.dtype == dtype:
        return x
    return x != 0 if dtype == torch.bool else x.to(dtype)


def _where(_: Node, condition: Value, one: Value, other: Value) -> Tensor:
    return torch.where(as_tensor(condition), as_tensor(one), as_tensor(other))


def _dropout(node: Node, x: Value, *given: Value | None) -> tuple[Tensor, Tensor]:
    training = given[1] if len(given) > 1 else None
    if training is not None and bool(as_tensor(training)):
        node.refuse("drops numbers at random, as in training")
    result = as_tensor(x)
    return result, torch.ones_like(result, dtype=torch.bool)


# Activations.


def _leaky(node: Node, x: Value) -> Tensor:
    return F.leaky_relu(as_tensor(x), node.get("alpha", 0.01))


def _elu(node: Node, x: Value) -> Tensor:
    return F.elu(as_tensor(x), node.get("alpha", 1.0))


def _celu(node: Node, x: Value) -> Tensor:
    return F.celu(as_tensor(x), node.get("alpha", 1.0))


_SELU = (1.6732632423543772, 1.0507009873554805)  # what ONNX and PyTorch have for alpha and gamma


def _selu(node: Node, x: Value) -> Tensor:
    alpha, gamma = node.get("alpha", _SELU[0]), node.get("gamma", _SELU[1])
    if abs(alpha - _SELU[0]) + abs(gamma - _SELU[1]) < 1e-6:
        return F.selu(as_tensor(x))
    return F.elu(as_tensor(x), alpha) * float(gamma)


def _gelu(node: Node, x: Value) -> Tensor:
    return F.gelu(as_tensor(x), approximate=node.get("approximate", "none"))


def _hard_sigmoid(node: Node, x: Value) -> Tensor:
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-7 and beta == 0.5:
        return F.hardsigmoid(as_tensor(x))
    return torch.clamp(as_tensor(x) * alpha + beta, 0.0, 1.0)


def _swish(node: Node, x: Value) -> Tensor:
    given, alpha = as_tensor(x), node.get("alpha", 1.0)
    return F.silu(given) if alpha == 1 else given * torch.sigmoid(given * alpha)


def _shrink(node: Node, x: Value) -> Tensor:
    given, threshold, bias = as_tensor(x), node.get("lambd", 0.5), node.get("bias", 0.0)
    if bias == 0:
        return F.hardshrink(given, threshold)
    if bias == threshold:
        return F.softshrink(given, threshold)
    zero = torch.zeros_like(given)
    return torch.where(given < -threshold, given + bias, torch.where(given > threshold, given - bias, zero))


def _thresholded(node: Node, x: Value) -> Tensor:
    return F.threshold(as_tensor(x), node.get("alpha", 1.0), 0.0)


def _prelu(_: Node, x: Value, slope: Value) -> Tensor:
    given, slopes = as_tensor(x), as_tensor(slope)
    channels = given.shape[1] if given.dim() > 1 else 1
    by_channel = slopes.dim() == given.dim() - 1 and slopes.shape[0] == channels and slopes.numel() == channels
    if given.dim() > 1 and (slopes.numel() == 1 or by_channel):
        return F.prelu(given, slopes.reshape(-1))
    return torch.where(given < 0, given * slopes, given)


def _softmax(function: Callable[..., Tensor]) -> Operator:
    """Before operator set 13, over all dimensions from the axis on."""

    def applied(node: Node, x: Value) -> Tensor:
        given = as_tensor(x)
        axis = node.get("axis", -1 if node.opset >= 13 else 1)
        if node.opset >= 13 or axis % given.dim() == given.dim() - 1:
            return function(given, dim=axis)
        return function(given.flatten(axis), dim=-1).reshape(given.shape)

    return applied


def _hardmax(node: Node, x: Value) -> Tensor:
    return _softmax(_one_hot_of_largest)(node, x)  # type: ignore[return-value]


def _one_hot_of_largest(x: Tensor, dim: int) -> Tensor:
    """1 where the first of the largest numbers is."""
    shape = [1] * x.dim()
    shape[dim] = -1
    places = torch.arange(x.shape[dim]).reshape(shape)
    return (places == x.argmax(dim, keepdim=True)).to(x.dtype)


_OF_ONE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "HardSwish": F.hardswish,
    "Identity": lambda x: x,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Mish": F.mish,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Relu": F.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}
_OF_TWO: Mapping[str, Callable[[Any, Any], Tensor]] = {
    "Add": torch.add,
    "And": torch.logical_and,
    "Div": _divided,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Mul": torch.mul,
    "Or": torch.logical_or,
    "Pow": _power,
    "Sub": torch.sub,
    "Xor": torch.logical_xor,
}

OPERATORS: Mapping[str, Operator] = {
    **{name: _of_one(function) for name, function in _OF_ONE.items()},
    **{name: _of_two(function) for name, function in _OF_TWO.items()},
    "Cast": _cast,
    "CastLike": _cast_like,
    "Celu": _celu,
    "Clip": _clip,
    "Dropout": _dropout,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "Hardmax": _hardmax,
    "IsInf": _is_infinite,
    "LeakyRelu": _leaky,
    "LogSoftmax": _softmax(F.log_softmax),
    "Max": _of_many(torch.maximum),
    "Mean": _mean,
    "Min": _of_many(torch.minimum),
    "Mod": _mod,
    "PRelu": _prelu,
    "Selu": _selu,
    "Shrink": _shrink,
    "Softmax": _softmax(F.softmax),
    "Sum": _of_many(torch.add),
    "Swish": _swish,
    "ThresholdedRelu": _thresholded,
    "Where": _where,
}
