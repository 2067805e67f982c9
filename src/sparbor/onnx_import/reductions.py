"""Operators that make one number of many: sums, largest ones, and where these stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from sparbor.onnx_import.node import Node, Operator, Value
from sparbor.onnx_import.values import as_tensor, axes_of, fixed_numbers, number


def _reduced(function: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    """Over axes that are an attribute or, in later operator sets, an input; over all if there are none."""

    def applied(node: Node, x: Value, axes: Value | None = None) -> Tensor:
        given = as_tensor(x)
        wanted = fixed_numbers(node, axes, "axes") if axes is not None else list(node.get("axes", ()))
        if not wanted and node.get("noop_with_empty_axes", 0):
            return function(given.unsqueeze(-1), [given.dim()], False)  # each number by itself
        dims = axes_of(wanted, given.dim()) or list(range(given.dim()))
        return function(given, dims, bool(node.get("keepdims", 1))) if dims else given

    return applied


def _sum(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return torch.sum(x, dims, keep, dtype=x.dtype)


def _mean(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return torch.mean(x, dims, keep)
    count = 1
    for dim in dims:
        count = count * x.shape[dim]
    return torch.div(_sum(x, dims, keep), count, rounding_mode="trunc")


def _largest(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return torch.any(x, dims, keep) if x.dtype == torch.bool else torch.amax(x, dims, keep)


def _least(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return ~torch.any(~x, dims, keep) if x.dtype == torch.bool else torch.amin(x, dims, keep)


def _product(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    for dim in sorted(dims, reverse=True):
        x = torch.prod(x, dim, keep, dtype=x.dtype)
    return x


def _l1(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return _sum(torch.abs(x), dims, keep)


def _sum_of_squares(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return _sum(x * x, dims, keep)


def _l2(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return torch.sqrt(_sum_of_squares(x, dims, keep).float()).to(x.dtype)


def _log_sum(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return torch.log(_sum(x, dims, keep))


def _place(function: Callable[[Tensor, int, bool], Tensor]) -> Operator:
    """Where the largest or the least number stands: the first of equal ones, or the last."""

    def applied(node: Node, x: Value) -> Any:
        given, axis, keep = as_tensor(x), node.get("axis", 0), bool(node.get("keepdims", 1))
        if not node.get("select_last_index", 0):
            return function(given, axis, keep)
        return given.shape[axis] - 1 - function(torch.flip(given, [axis]), axis, keep)

    return applied


def _top(node: Node, x: Value, k: Value | None = None) -> Any:
    """How many is an input from operator set 10 on."""
    count = node.get("k") if k is None else number(node, k, "numbers that it takes")
    largest, ordered = bool(node.get("largest", 1)), bool(node.get("sorted", 1))
    return tuple(torch.topk(as_tensor(x), count, node.get("axis", -1), largest, ordered))


def _running_sum(node: Node, x: Value, axis: Value) -> Tensor:
    given = as_tensor(x)
    (along,) = axes_of(fixed_numbers(node, axis, "axes"), given.dim())
    turned = torch.flip(given, [along]) if node.get("reverse", 0) else given
    result = torch.cumsum(turned, along, dtype=given.dtype)
    if node.get("exclusive", 0):
        result = result - turned
    return torch.flip(result, [along]) if node.get("reverse", 0) else result


OPERATORS: Mapping[str, Operator] = {
    "ArgMax": _place(torch.argmax),
    "ArgMin": _place(torch.argmin),
    "CumSum": _running_sum,
    "ReduceL1": _reduced(_l1),
    "ReduceL2": _reduced(_l2),
    "ReduceLogSum": _reduced(_log_sum),
    "ReduceLogSumExp": _reduced(torch.logsumexp),
    "ReduceMax": _reduced(_largest),
    "ReduceMean": _reduced(_mean),
    "ReduceMin": _reduced(_least),
    "ReduceProd": _reduced(_product),
    "ReduceSum": _reduced(_sum),
    "ReduceSumSquare": _reduced(_sum_of_squares),
    "TopK": _top,
}
