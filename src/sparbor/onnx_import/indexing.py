"""Operators that take or put numbers by their places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sparbor.onnx_import.node import Node, Operator, Value
from sparbor.onnx_import.values import as_tensor, fixed_numbers, has_symbols, numbers, tensors, torch_type


def _gather(node: Node, x: Value, places: Value) -> Tensor:
    """Places may be counted from the end, but for those of a table of weights: they are ids."""
    given, axis = as_tensor(x), node.get("axis", 0) % x.ndim
    if isinstance(places, np.ndarray) and places.ndim == 0:
        return given.select(axis, places.tolist())
    is_table = node.constant[0] and given.dim() == 2 and axis == 0 and given.is_floating_point()
    if isinstance(places, Tensor) and is_table:
        return F.embedding(places, given)
    wanted: Any = as_tensor(places)
    return given[(slice(None),) * axis + (wanted.long(),)]


def _from_the_front(places: Value, size: Any) -> Tensor:
    """Places as PyTorch takes them; those that are computed are taken to be counted from the front already."""
    if isinstance(places, np.ndarray) and not has_symbols(places) and isinstance(size, int):
        return as_tensor(places % size).long()
    return as_tensor(places).long()


def _gather_elements(node: Node, x: Value, places: Value) -> Tensor:
    given, axis = as_tensor(x), node.get("axis", 0)
    return torch.gather(given, axis, _from_the_front(places, given.shape[axis]))


def _gather_rows(node: Node, x: Value, places: Value) -> Tensor:
    """Each row of the places is that of one number, or of a part of so many dimensions less."""
    if node.get("batch_dims", 0):
        node.refuse("takes other places for each item (batch_dims)")
    wanted = as_tensor(places).long()
    return as_tensor(x)[tuple(wanted.unbind(-1))]


def _scatter_elements(node: Node, x: Value, places: Value, new: Value) -> Tensor:
    given, axis, reduction = as_tensor(x), node.get("axis", 0), node.get("reduction", "none")
    where = _from_the_front(places, given.shape[axis])
    if reduction == "add":
        return torch.scatter_add(given, axis, where, as_tensor(new))
    if reduction != "none":
        node.refuse(f"puts numbers by reduction {reduction!r}")
    return torch.scatter(given, axis, where, as_tensor(new))


def _scatter_rows(node: Node, x: Value, places: Value, new: Value) -> Tensor:
    reduction = node.get("reduction", "none")
    if reduction not in ("none", "add"):
        node.refuse(f"puts numbers by reduction {reduction!r}")
    given, where, put = tensors(x, places, new)
    changed: Tensor = torch.index_put(given, tuple(where.long().unbind(-1)), put, accumulate=reduction == "add")
    return changed


def _one_hot(node: Node, places: Value, depth: Value, values: Value) -> Tensor:
    """Places beyond the depth have none."""
    (size,) = fixed_numbers(node, depth, "depth")
    where, (off, on) = as_tensor(places).long(), as_tensor(values).unbind(0)
    where = torch.where(where < 0, where + int(size), where)
    axis = node.get("axis", -1) % (where.dim() + 1)
    shape = [1] * (where.dim() + 1)
    shape[axis] = int(size)
    return torch.where(where.unsqueeze(axis) == torch.arange(int(size)).reshape(shape), on, off)


def _diagonal_of_ones(node: Node, like: Value) -> Tensor:
    rows, columns = like.shape
    dtype = torch_type(node, node.get("dtype")) if node.get("dtype") else as_tensor(like).dtype
    shifted = torch.arange(rows).unsqueeze(1) + int(node.get("k", 0))
    return (shifted == torch.arange(columns)).to(dtype)


def _sample(node: Node, x: Value, grid: Value) -> Tensor:
    """Numbers of planes at any places between theirs."""
    modes = {"bilinear": "bilinear", "linear": "bilinear", "nearest": "nearest"}
    if (mode := node.get("mode", "bilinear")) not in modes:
        node.refuse(f"samples by mode {mode!r}")
    corners = bool(node.get("align_corners", 0))
    return F.grid_sample(as_tensor(x), as_tensor(grid), modes[mode], node.get("padding_mode", "zeros"), corners)


def _fold(node: Node, x: Value, size: Value, block: Value) -> Tensor:
    pads = list(node.get("pads", [0] * 4))
    if len(pads) != 4 or pads[:2] != pads[2:]:
        node.refuse("puts blocks together over other sides than two equal ones of a plane")
    return F.fold(
        as_tensor(x),
        tuple(numbers(node, size, "sizes")),
        tuple(fixed_numbers(node, block, "sizes")),
        tuple(node.get("dilations", [1, 1])),
        tuple(pads[:2]),
        tuple(node.get("strides", [1, 1])),
    )


OPERATORS: Mapping[str, Operator] = {
    "Col2Im": _fold,
    "EyeLike": _diagonal_of_ones,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_rows,
    "GridSample": _sample,
    "OneHot": _one_hot,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_rows,
}
