"""Operators that move numbers and compute none: shapes, slices, concatenations, padding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sparbor.onnx_import.node import Array, Node, Operator, Value
from sparbor.onnx_import.values import (
    SYMBOLS,
    as_tensor,
    axes_of,
    fixed_numbers,
    host,
    number,
    numbers,
    places_backwards,
    scalar_or_tensor,
    tensors,
)


def _shape(node: Node, x: Value) -> Array:
    sizes = list(x.shape)
    return host(sizes[node.get("start", 0) : node.get("end")]) if sizes else np.zeros(0, np.int64)


def _size(_: Node, x: Value) -> Array:
    return host(math.prod(x.shape))


def _reshape(node: Node, x: Value, shape: Value) -> Tensor:
    """0 is the size that was there, unless zeros are allowed."""
    given, sizes = as_tensor(x), numbers(node, shape, "sizes")
    keeps = not node.get("allowzero", 0)
    return given.reshape([given.shape[place] if keeps and _is(size, 0) else size for place, size in enumerate(sizes)])


def _is(size: Any, wanted: int) -> bool:
    """Whether a size is this number, and no symbol."""
    return not isinstance(size, SYMBOLS) and int(size) == wanted


def _flatten(node: Node, x: Value) -> Tensor:
    given = as_tensor(x)
    axis = node.get("axis", 1)
    axis = axis + given.dim() if axis < 0 else axis
    if 0 < axis < given.dim():
        given = given.flatten(axis)
        return given.flatten(0, axis - 1) if axis > 1 else given
    return given.reshape(1, -1) if axis == 0 else given.reshape(-1, 1)


def _transpose(node: Node, x: Value) -> Tensor:
    given = as_tensor(x)
    return given.permute(*node.get("perm", list(reversed(range(given.dim()))))) if given.dim() else given


def _axes(node: Node, given: Value | None) -> list[int]:
    """Which are an attribute or, from operator set 13 on, an input."""
    return fixed_numbers(node, given, "axes") if given is not None else list(node.get("axes", ()))


def _squeeze(node: Node, x: Value, axes: Value | None = None) -> Tensor:
    given = as_tensor(x)
    wanted = axes_of(_axes(node, axes), given.dim())
    return given.squeeze(wanted or [axis for axis, size in enumerate(given.shape) if _is(size, 1)])


def _unsqueeze(node: Node, x: Value, axes: Value | None = None) -> Tensor:
    given, wanted = as_tensor(x), _axes(node, axes)
    for axis in sorted(axes_of(wanted, given.dim() + len(wanted))):
        given = given.unsqueeze(axis)
    return given


def _concat(node: Node, *given: Value) -> Tensor:
    parts = [each for each in tensors(*given) if not (each.dim() == 1 and _is(each.shape[0], 0))]
    return torch.cat(parts, node.get("axis", 1)) if len(parts) > 1 else parts[0]


def _split(node: Node, x: Value, sizes: Value | None = None) -> tuple[Tensor, ...]:
    given, axis, parts = as_tensor(x), node.get("axis", 0), len(node.outputs)
    wanted = numbers(node, sizes, "sizes") if sizes is not None else list(node.get("split", ()))
    if not wanted:
        each = (given.shape[axis] + parts - 1) // parts
        wanted = [*[each] * (parts - 1), given.shape[axis] - each * (parts - 1)]
    return torch.split(given, wanted, axis)


def _slice(node: Node, x: Value, *bounds: Value | None) -> Tensor:
    """Bounds are inputs from operator set 10 on."""
    given = as_tensor(x)
    if bounds:
        starts, ends = (numbers(node, each, "bounds") for each in bounds[:2])
        axes, steps = (fixed_numbers(node, each, "axes or steps") for each in (*bounds[2:], None, None)[:2])
    else:
        starts, ends, axes, steps = list(node.get("starts")), list(node.get("ends")), list(node.get("axes", ())), []
    axes, steps = axes or list(range(len(starts))), steps or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes_of(axes, given.dim()), steps, strict=True):
        given = _sliced(node, given, start, end, axis, step)
    return given


def _sliced(node: Node, x: Tensor, start: Any, end: Any, axis: int, step: int) -> Tensor:
    if step > 0:
        return x[(slice(None),) * axis + (slice(start, end, step),)]
    size = x.shape[axis]
    if _from_the_last(start, size) and not isinstance(end, SYMBOLS) and end < -(2**31) + 2:
        return x.flip(axis)[(slice(None),) * axis + (slice(None, None, -step),)]
    if any(isinstance(each, SYMBOLS) for each in (start, end, size)):
        node.refuse("counts backwards between places that depend on the sizes of an input")
    return x.index_select(axis, torch.tensor(places_backwards(size, start, end, step), dtype=torch.int64))


def _from_the_last(start: Any, size: Any) -> bool:
    return not isinstance(start, SYMBOLS) and (start == -1 or start >= 2**31 - 2)


def _expand(node: Node, x: Value, shape: Value) -> Tensor:
    """In both directions: where the shape has 1, the size stays."""
    given, sizes = as_tensor(x), numbers(node, shape, "sizes")
    own = [*[1] * (len(sizes) - given.dim()), *given.shape]
    sizes = [*[1] * (len(own) - len(sizes)), *sizes]
    return given.expand([size if _is(there, 1) else there for there, size in zip(own, sizes, strict=True)])


def _tile(node: Node, x: Value, times: Value) -> Tensor:
    return as_tensor(x).repeat(*numbers(node, times, "times"))


_PADDING = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _pad(
    node: Node, x: Value, pads: Value | None = None, fill: Value | None = None, axes: Value | None = None
) -> Tensor:
    """How much is an input from operator set 11 on, and the axes from 18 on."""
    given, mode = as_tensor(x), node.get("mode", "constant")
    sides = numbers(node, pads, "sides") if pads is not None else list(node.get("pads"))
    where = axes_of(fixed_numbers(node, axes, "axes"), given.dim()) or list(range(given.dim()))
    before, after = [0] * given.dim(), [0] * given.dim()
    for place, axis in enumerate(where):
        before[axis], after[axis] = sides[place], sides[place + len(where)]
    last_first = [each for axis in reversed(range(given.dim())) for each in (before[axis], after[axis])]
    while last_first and all(_is(each, 0) for each in last_first[-2:]):
        last_first = last_first[:-2]
    if not last_first:
        return given
    if mode != "constant":
        last_first += [0] * (2 * (given.dim() - 2) - len(last_first))  # PyTorch wants all dimensions of planes
        return F.pad(given, last_first, _PADDING[mode])
    value = node.get("value", 0.0) if fill is None else scalar_or_tensor(np.reshape(numbers(node, fill, "fill")[0], ()))
    if given.dtype == torch.bool:
        return F.pad(given.to(torch.int32), last_first, value=int(value)).to(torch.bool)
    return F.pad(given, last_first, value=value)


def _depth_to_space(node: Node, x: Value) -> Tensor:
    given, block = as_tensor(x), node.get("blocksize")
    if node.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(given, block)
    batch, channels, height, width = given.shape
    apart = given.reshape(batch, block, block, channels // block**2, height, width).permute(0, 3, 4, 1, 5, 2)
    return apart.reshape(batch, channels // block**2, height * block, width * block)


def _space_to_depth(node: Node, x: Value) -> Tensor:
    given, block = as_tensor(x), node.get("blocksize")
    batch, channels, height, width = given.shape
    apart = given.reshape(batch, channels, height // block, block, width // block, block).permute(0, 3, 5, 1, 2, 4)
    return apart.reshape(batch, channels * block**2, height // block, width // block)


def _triangle(node: Node, x: Value, k: Value | None = None) -> Tensor:
    given, diagonal = as_tensor(x), number(node, k, "diagonal", 0)
    return torch.triu(given, diagonal) if node.get("upper", 1) else torch.tril(given, diagonal)


def _constant_of_shape(node: Node, shape: Value) -> Tensor:
    fill = as_tensor(node.get("value", np.zeros(1, np.float32)))
    return torch.full(numbers(node, shape, "sizes"), fill.item(), dtype=fill.dtype)


def _range(node: Node, start: Value, limit: Value, step: Value) -> Tensor:
    first, last, each = (number(node, value, "bounds") for value in (start, limit, step))
    whole = not any(isinstance(number_, (float, torch.SymFloat)) for number_ in (first, last, each))
    return torch.arange(first, last, each, dtype=torch.int64 if whole else torch.float32)


OPERATORS: Mapping[str, Operator] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
}
