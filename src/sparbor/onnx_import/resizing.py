"""Resize and Upsample: by PyTorch's functions where these have the same places, else axis by axis.

Each number of a result lies at a place between numbers of what is resized, which ONNX computes in one of several ways.
An axis whose places PyTorch has no way for is taken by a list of places, or multiplied with a matrix of shares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sparbor.onnx_import.node import Array, Node, Operator, Value
from sparbor.onnx_import.values import SYMBOLS, as_tensor, axes_of, fixed_numbers, numbers, whole_of


@dataclass(frozen=True)
class _Axis:
    """One that gets another size; ``scale`` is how many times larger that is."""

    axis: int
    before: Any
    after: Any
    scale: Any

    @property
    def is_whole(self) -> bool:
        """Whether each number becomes as many."""
        return not isinstance(self.scale, SYMBOLS) and float(self.scale).is_integer()


def _resize(node: Node, x: Value, *given: Value | None) -> Tensor:
    """Inputs are scales alone, or a region, scales and sizes from operator set 11 on."""
    value = as_tensor(x)
    given = (*given, None, None, None)
    scales, sizes = (given[1], given[2]) if node.opset >= 11 else (given[0], None)
    axes = _axes(node, value, scales, sizes)
    axes = [each for each in axes if not bool(each.after == each.before)]
    mode = node.get("mode", "nearest")
    places = node.get("coordinate_transformation_mode", "half_pixel" if node.opset >= 11 else "asymmetric")
    if places == "tf_crop_and_resize" or node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        node.refuse("cuts out a region, or keeps the ratio of its sides")
    if node.get("antialias", 0) and any(_is_less(each.scale) for each in axes):
        node.refuse("makes planes smaller with antialias")
    if not axes:
        return value
    if (name := _function(node, mode, places, axes, value.dim())) is not None:
        return _by_function(value, name, axes, places == "align_corners")
    for each in axes:
        value = _along(node, value, each, mode, places)
    return value


def _is_less(scale: Any) -> bool:
    return not isinstance(scale, SYMBOLS) and scale < 1


def _axes(node: Node, x: Tensor, scales: Value | None, sizes: Value | None) -> list[_Axis]:
    listed = node.get("scales") if node.opset < 9 else None
    factors = list(listed) if listed is not None else fixed_numbers(node, scales, "scales")
    wanted = numbers(node, sizes, "sizes")
    which = axes_of(node.get("axes", range(x.dim())), x.dim())
    if factors:
        return [_scaled(axis, x.shape[axis], factor) for axis, factor in zip(which, factors, strict=True)]
    return [_sized(axis, x.shape[axis], size) for axis, size in zip(which, wanted, strict=True)]


def _sized(axis: int, before: Any, after: Any) -> _Axis:
    times = after // before
    return _Axis(axis, before, after, int(times) if bool(times * before == after) else after / before)


def _scaled(axis: int, size: Any, factor: float) -> _Axis:
    is_symbol = isinstance(size, SYMBOLS)
    if float(factor).is_integer():
        return _Axis(axis, size, size * int(factor), int(factor))
    if is_symbol and float(1 / factor).is_integer():
        return _Axis(axis, size, size // round(1 / factor), factor)
    return _Axis(axis, size, whole_of(size * factor), factor)


def _function(node: Node, mode: str, places: str, axes: list[_Axis], rank: int) -> str | None:
    """What PyTorch calls this way to resize the last dimensions, all of them or none."""
    if rank not in (3, 4) or any(each.axis < 2 for each in axes):
        return None
    if mode == "nearest":
        return _nearest(node, places, all(each.is_whole for each in axes))
    if places not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return None
    if mode == "linear":
        return "linear" if rank == 3 else "bilinear"
    usual = node.get("cubic_coeff_a", -0.75) == -0.75 and not node.get("exclude_outside", 0)
    return "bicubic" if rank == 4 and usual else None


def _nearest(node: Node, places: str, whole: bool) -> str | None:
    rounding = node.get("nearest_mode", "round_prefer_floor") if node.opset >= 11 else "floor"
    if places == "asymmetric" and rounding == "floor":
        return "nearest"
    if places in ("half_pixel", "pytorch_half_pixel") and rounding.startswith("round"):
        return "nearest" if whole else "nearest-exact" if rounding == "round_prefer_ceil" else None
    return None


def _by_function(x: Tensor, name: str, axes: list[_Axis], corners: bool) -> Tensor:
    """By sizes where these say all, else by scales, which say more exactly how far apart places are."""
    smooth = None if name.startswith("nearest") else corners
    sizes, factors = list(x.shape[2:]), [1.0] * (x.dim() - 2)
    for each in axes:
        sizes[each.axis - 2], factors[each.axis - 2] = each.after, each.scale
    exact = corners or any(isinstance(each.scale, SYMBOLS) for each in axes)
    if exact or all(abs(each.before * each.scale - each.after) < 1e-6 for each in axes):
        return F.interpolate(x, size=sizes, mode=name, align_corners=smooth)
    return F.interpolate(x, scale_factor=[float(each) for each in factors], mode=name, align_corners=smooth)


def _along(node: Node, x: Tensor, axis: _Axis, mode: str, places: str) -> Tensor:
    if any(isinstance(each, SYMBOLS) for each in (axis.before, axis.after, axis.scale)):
        node.refuse(f"resizes a dimension of any size by mode {mode!r} and places {places!r}")
    at = _places(axis, places)
    if mode == "nearest":
        rounding = node.get("nearest_mode", "round_prefer_floor") if node.opset >= 11 else "floor"
        wanted = np.clip(_ROUNDINGS[rounding](at), 0, axis.before - 1).astype(np.int64)
        return x.index_select(axis.axis, torch.from_numpy(wanted))
    shares = _shares(node, at, axis.before, mode)
    return torch.matmul(x.movedim(axis.axis, -1), torch.from_numpy(shares.T.copy())).movedim(-1, axis.axis)


_ROUNDINGS: Mapping[str, Callable[[Array], Array]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
}


def _places(axis: _Axis, way: str) -> Array:
    """Where in what is resized the numbers of the result lie."""
    scale = float(axis.scale)
    there: Array = np.arange(axis.after, dtype=np.float64)
    if way == "asymmetric":
        return there / scale
    if way == "align_corners":
        return there * (axis.before - 1) / (axis.after - 1) if axis.after > 1 else there * 0
    if way == "half_pixel_symmetric":
        shift: float = axis.before / 2 * (1 - axis.after / (scale * axis.before))
        return shift + (there + 0.5) / scale - 0.5
    if way == "pytorch_half_pixel" and axis.after == 1:
        return there * 0
    return (there + 0.5) / scale - 0.5


def _shares(node: Node, at: Array, size: int, mode: str) -> Array:
    """How much of each number is in each of the result: a row for each of these."""
    first = np.floor(at).astype(np.int64)
    apart = at - first
    if mode == "linear":
        parts = [(0, 1 - apart), (1, apart)]
    else:
        a = node.get("cubic_coeff_a", -0.75)
        parts = [(step, _cubic(np.abs(apart - step), a)) for step in (-1, 0, 1, 2)]
    made, rows = np.zeros((len(at), size)), np.arange(len(at))
    for step, share in parts:
        inside = (first + step >= 0) & (first + step < size)
        kept = share * inside if node.get("exclude_outside", 0) else share
        np.add.at(made, (rows, np.clip(first + step, 0, size - 1)), kept)
    shares: Array = made / made.sum(1, keepdims=True)
    return shares.astype(np.float32)


def _cubic(distance: Array, a: float) -> Array:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


OPERATORS: Mapping[str, Operator] = {"Resize": _resize, "Upsample": _resize}
